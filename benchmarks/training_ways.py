"""Three ways to train on the same tiles, and their pace; see benchmarks/training.py."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import Batch, LabelledTiles, collate, normalise, signed_distance
from salt.fit.fold import FoldData
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.segmentation import SegmentationTask
from salt.fit.task import FitConfig
from salt.losses.compound import LossConfig, compound_loss, loss_config
from salt.models.registry import build_model
from salt.models.segmenter import ModelConfig, config_from
from salt.padding import crop, pad
from salt.settings import Params
from salt.store import TILE_SIZE

SEED = 2018
EPOCHS = 3  # of which the first is not timed; the others are, their start included


@dataclass(frozen=True)
class Subject:
    """What every way trains: settings, tiles in memory, and the same tiles as PNG files."""

    params: Params
    tiles: LabelledTiles
    folder: Path
    device: torch.device
    workers: int

    @property
    def model_config(self) -> ModelConfig:
        """The network; with random weights, for speed does not depend on them."""
        return config_from(self.params.model.model_dump() | {"encoder_weights": "none"})

    @property
    def augmentation(self) -> Augmentation:
        """The same changes for every way."""
        return Augmentation(AugmentConfig(**self.params.augment.model_dump()))

    @property
    def loss(self) -> LossConfig:
        """The loss of `salt` and of the plain way."""
        return loss_config(self.params.loss.model_dump())

    @property
    def batch_size(self) -> int:
        """Tiles in a step."""
        return self.params.train.batch_size

    def finish(self) -> None:
        """Wait until the device has done all it was told to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Pace:
    """Images a second, and the share of the time that the device had no batch to work on."""

    images_per_second: float
    waiting_share: float


def draw_tiles(count: int, stack_width: int) -> LabelledTiles:
    """Draw tiles of coarse noise with a disc of salt: speed does not depend on the picture."""
    draw = np.random.default_rng(SEED)
    images = draw.integers(0, 256, (count, 26, 26), np.uint8)
    images = images.repeat(4, 1).repeat(4, 2)[:, :TILE_SIZE, :TILE_SIZE]
    y, x = np.mgrid[:TILE_SIZE, :TILE_SIZE]
    centre, radius = draw.uniform(20, 80, (2, count, 1, 1)), draw.uniform(0, 40, (count, 1, 1))
    masks = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.uint8)
    stacks = np.repeat(np.arange(count)[:, None], stack_width, axis=1)
    ids = [str(tile) for tile in range(count)]
    return LabelledTiles(images, stacks, masks, np.zeros_like(masks), ids)


def write_pngs(subject: Subject) -> None:
    """Write each tile as the challenge has it: RGB images and 16-bit masks."""
    tiles = subject.tiles
    for name, image, mask in zip(tiles.ids, tiles.images, tiles.masks, strict=True):
        Image.fromarray(image).convert("RGB").save(subject.folder / f"{name}.png")
        Image.fromarray(mask.astype(np.uint16) * 65535).save(subject.folder / f"{name}_mask.png")


def paced(
    batches: Callable[[int], Iterable[Any]], step: Callable[[int, int, Any], Any], subject: Subject
) -> Pace:
    """Take a step (epoch, index, batch) on each of an epoch's batches and measure their pace."""
    ends, waits, since = [], [], time.perf_counter()
    for epoch in range(EPOCHS):
        for index, batch in enumerate(batches(epoch)):
            waits.append(time.perf_counter() - since)
            step(epoch, index, batch)
            subject.finish()
            since = time.perf_counter()
            ends.append(since)
    return _pace(ends, waits, subject.batch_size)


def _pace(ends: list[float], waits: list[float], batch_size: int) -> Pace:
    """Judge the whole epochs behind the first: new workers start with each, as in training."""
    warm_up = len(ends) // EPOCHS
    seconds = ends[-1] - ends[warm_up - 1]
    return Pace(batch_size * (len(ends) - warm_up) / seconds, sum(waits[warm_up:]) / seconds)


def train_salt(subject: Subject) -> Pace:
    """Train with this project's loop."""
    task, fit = salt_fit(subject)

    def step(epoch: int, index: int, batch: Batch) -> None:
        fit._step(batch.to(subject.device), epoch, index)

    return paced(task.batches, step, subject)


def salt_fit(subject: Subject) -> tuple[SegmentationTask, Fit]:
    """Build the project's own task and loop on all tiles."""
    tiles, settings = subject.tiles, subject.params.train
    none = tiles.subset(np.arange(0))
    data = FoldData(tiles, none, none, tiles.images, tiles.stacks, np.arange(0), [])
    task = SegmentationTask(
        "benchmark",
        data,
        subject.loss,
        subject.augmentation,
        batch_size=subject.batch_size,
        synthetic_share=0.0,
        precision=settings.precision,
        seed=SEED,
        workers=subject.workers,
    )
    torch.manual_seed(SEED)
    config = FitConfig(**settings.model_dump(include=set(FitConfig.__dataclass_fields__)))
    model = build_model(subject.model_config)
    fit = Fit(model, task, config, subject.folder / "resume", Processes(subject.device))
    fit.model.train()
    return task, fit


class PngTiles(Dataset):
    """Decode and augment tiles file by file."""

    def __init__(self, subject: Subject) -> None:
        self.folder, self.ids = subject.folder, subject.tiles.ids
        self.augmentation, self.width = subject.augmentation, subject.params.model.stack_width

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
        name = self.ids[row]
        image = np.asarray(Image.open(self.folder / f"{name}.png").convert("L"))
        mask = (np.asarray(Image.open(self.folder / f"{name}_mask.png")) > 0).astype(np.uint8)
        stack, blank = np.stack([image] * self.width, axis=-1), np.zeros_like(mask)
        stack, mask, ignore = self.augmentation(stack, mask, blank, row)
        return np.moveaxis(stack, -1, 0), mask, ignore, np.zeros(mask.shape, np.float32), name


def train_plain(subject: Subject) -> Pace:
    """Train the same network as a notebook does: PNG files, float32, contiguous tensors."""
    torch.manual_seed(SEED)
    model = build_model(subject.model_config).to(subject.device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    config = subject.loss

    def step(epoch: int, index: int, batch: Batch) -> None:
        pairs = zip(batch.masks[:, 0].numpy(), 1 - batch.valid[:, 0].numpy(), strict=True)
        distances = [signed_distance(mask, ignore) for mask, ignore in pairs]
        batch = replace(batch, distance=torch.from_numpy(np.stack(distances))[:, None])
        batch = batch.to(subject.device)
        output = model(pad(batch.images, model.config.input_size))
        output = output._replace(mask_logits=crop(output.mask_logits, TILE_SIZE))
        loss = compound_loss(output, batch.masks, batch.valid, batch.distance, config)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        loss.item()

    loader = _loader(PngTiles(subject), subject, collate_fn=collate)
    return paced(lambda epoch: loader, step, subject)


def _loader(tiles: Dataset, subject: Subject, **options: Any) -> DataLoader:
    return DataLoader(
        tiles,
        subject.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=subject.workers,
        **options,
    )


class MemoryTiles(Dataset):
    """Augment tiles that lie in memory."""

    def __init__(self, subject: Subject) -> None:
        self.tiles, self.augmentation = subject.tiles, subject.augmentation

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        stack, mask, ignore = self.tiles.sample(row)
        stack = np.ascontiguousarray(np.moveaxis(stack, 0, -1))
        stack, mask, _ = self.augmentation(stack, mask, ignore, row)
        return normalise(np.moveaxis(stack, -1, 0)), torch.from_numpy(mask)[None].float()


def train_lightning_smp(subject: Subject) -> Pace:
    """Train segmentation-models-pytorch's U-Net by a minimal Lightning script, in bfloat16."""
    import lightning
    import segmentation_models_pytorch as smp

    config = subject.model_config
    ends: list[float] = []

    class Script(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = smp.Unet(
                config.encoder,
                encoder_weights=None,
                encoder_depth=len(config.decoder_channels),
                decoder_channels=config.decoder_channels,
                in_channels=config.stack_width,
            )
            self.dice, self.focal = smp.losses.DiceLoss("binary"), smp.losses.FocalLoss("binary")

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            images, masks = batch
            logits = crop(self.net(pad(images, config.input_size)), TILE_SIZE)
            return self.dice(logits, masks) + self.focal(logits, masks)

        def on_train_batch_end(self, *_: Any) -> None:
            subject.finish()
            ends.append(time.perf_counter())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.01)

    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator=subject.device.type,
        devices=1,
        precision="bf16-mixed",
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Script(), _loader(MemoryTiles(subject), subject))
    return _pace(ends, [], subject.batch_size)

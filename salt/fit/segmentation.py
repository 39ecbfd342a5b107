"""Train one fold's segmentation network and predict the tiles it has not seen."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import WHOLE, Batch, LabelledTiles, training_batches
from salt.errors import TrainingError
from salt.files import write_array, write_csv
from salt.fit.fold import FoldData, read_fold
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.task import FitConfig, Report, Task
from salt.losses.compound import LossConfig, compound_loss
from salt.metrics import mean_score
from salt.mixing import mixed_batches
from salt.models.predict import predict
from salt.models.registry import build_model
from salt.models.segmenter import WEIGHTS, ModelConfig, Network, Segmentation
from salt.models.snapshots import save_snapshots
from salt.models.weights import load_weights
from salt.padding import crop, pad
from salt.seeding import derive_seed

HISTORY = ["epoch", "learning_rate", "train_loss", "validation_score"]
# Drawn anew: pretraining knows nothing of salt.
HEADS = ("mask_head.", "presence_head.", "auxiliary_heads.")


class SegmentationTask:
    """Fit a network to labelled tiles; see `salt.fit.task.Task`."""

    def __init__(
        self,
        name: str,
        data: FoldData,
        loss: LossConfig,
        augmentation: Augmentation,
        *,
        batch_size: int,
        synthetic_share: float,
        precision: str,
        seed: int,
        workers: int,
        part: slice = WHOLE,
    ) -> None:
        self.name, self.data, self.loss_config = name, data, loss
        self.augmentation, self.precision = augmentation, precision
        self.batch_size, self.seed, self.workers, self.part = batch_size, seed, workers, part
        drawn = round(synthetic_share * len(data.training)) if len(data.synthetic) else 0
        self.tiles = data.training.joined(data.synthetic) if drawn else data.training
        self.synthetic_count = drawn

    def on(self, tiles: LabelledTiles) -> "SegmentationTask":
        """Return the same task on other tiles alone, without synthetic ones."""
        none = tiles.subset(np.arange(0))
        return SegmentationTask(
            self.name,
            replace(self.data, training=tiles, validation=none, synthetic=none),
            self.loss_config,
            self.augmentation,
            batch_size=self.batch_size,
            synthetic_share=0.0,
            precision=self.precision,
            seed=derive_seed(self.seed, "other tiles"),
            workers=self.workers,
            part=self.part,
        )

    def steps(self) -> int:
        """Batches in an epoch."""
        return max((len(self.data.training) + self.synthetic_count) // self.batch_size, 1)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the epoch's augmented and mixed batches."""
        distances = self.loss_config.needs_distances()
        batches = training_batches(
            self.tiles,
            epoch=epoch,
            seed=self.seed,
            batch_size=self.batch_size,
            augmentation=self.augmentation,
            distances=distances,
            extra=len(self.tiles) - len(self.data.training),
            extra_drawn=self.synthetic_count,
            workers=self.workers,
            part=self.part,
        )
        augment = self.augmentation.config
        return mixed_batches(
            batches,
            mixup=augment.mixup,
            cutmix=augment.cutmix,
            seed=self.seed,
            epoch=epoch,
            stack_width=self.tiles.stacks.shape[1],
            distances=distances,
        )

    def loss(self, model: Network, batch: Batch, share: float) -> torch.Tensor:
        """Return the compound loss on every pixel with a label; padding is cropped off first.

        Real margins are no padding, and stay. Presence is asked of the tile alone.

        Raises:
            TrainingError: auxiliary outputs are to be scored and the network has none.
        """
        config, own = self.loss_config.at(share), self.tiles.masks.shape[-1]
        padded = pad(batch.images, model.config.input_size, model.config.padding)
        output = model(padded.contiguous(memory_format=torch.channels_last))
        if config.auxiliary_weight and model.training and not output.auxiliary:
            raise TrainingError(
                f"{self.name}: loss.auxiliary_weight is {config.auxiliary_weight}, but the network "
                "has no auxiliary outputs; expected some. Set it to 0 or choose a network with "
                "deep supervision."
            )
        output = at_tile_size(output, batch.masks.shape[-1])
        masks, valid, distance = batch.masks, batch.valid, batch.distance
        loss = compound_loss(output, masks, valid, distance, config, own)
        if batch.partner is None:
            return loss
        masks, valid, distance = (target[batch.partner] for target in (masks, valid, distance))
        others = compound_loss(output, masks, valid, distance, config, own)
        return batch.share * loss + (1 - batch.share) * others

    def validate(self, model: Network) -> dict[str, float]:
        """Return the metric at threshold 0.5 on the validation tiles."""
        tiles = self.data.validation
        if not len(tiles):
            return {}
        probability, _ = predict(
            model, tiles.images, tiles.stacks, precision=self.precision, name=""
        )
        score = mean_score(probability > 0.5, tiles.masks, tiles.ignore)
        return {"validation_score": float(score)}


def open_task(
    name: str,
    folders: tuple[Path, Path, Path],
    *,
    fold: int,
    model: ModelConfig,
    loss: LossConfig,
    augment: AugmentConfig,
    validation_share: float,
    split_seed: int,
    batch_size: int,
    synthetic_share: float,
    precision: str,
    seed: int,
    workers: int,
    part: slice = WHOLE,
) -> SegmentationTask:
    """Read a fold's tiles from ingest, index and synthesize, and return the task of learning it.

    `split_seed` draws the validation tiles: the same in every round, or a later one would choose
    its epoch on tiles that an earlier one learnt. `seed` decides order and augmentation.
    """
    data = read_fold(
        *folders,
        fold=fold,
        stack_width=model.stack_width,
        padding=model.padding,
        input_size=model.input_size,
        validation_share=validation_share,
        seed=split_seed,
        depth_input=model.depth_input,
    )
    return SegmentationTask(
        name,
        data,
        loss,
        Augmentation(augment),
        batch_size=batch_size,
        synthetic_share=synthetic_share,
        precision=precision,
        seed=seed,
        workers=workers,
        part=part,
    )


def at_tile_size(output: Segmentation, size: int) -> Segmentation:
    """Crop padding off all logits."""
    auxiliary = tuple(crop(logits, size) for logits in output.auxiliary)
    return output._replace(mask_logits=crop(output.mask_logits, size), auxiliary=auxiliary)


class FoldTask(Task, Protocol):
    """A task that learns one fold, and whose network then predicts the fold's own tiles."""

    data: FoldData
    precision: str
    batch_size: int


def fit_fold(
    task: FoldTask,
    model_config: ModelConfig,
    fit_config: FitConfig,
    *,
    start: Path,
    anew: tuple[str, ...],
    out: Path,
    resume: Path,
    report: Report,
    processes: Processes,
) -> None:
    """Train on all but one fold and write weights, history and out-of-fold predictions.

    Args:
        start: folder of the weights to start from.
        anew: prefixes of tensors that start anew all the same, such as `HEADS`.
        out: gets weights.safetensors, config.json, history.csv, oof_probability.npy
            (float16 [n, S, S]) and oof_tiles.csv (id, presence); with snapshots the earlier
            networks too, see `snapshot_folders`. The predictions are the main network's.
        resume: folder for the state after each epoch.
        processes: that train together; the first predicts and writes.
    """
    if len(task.data.training) < task.batch_size:
        raise TrainingError(
            f"{task.name}: {len(task.data.training)} training tiles are fewer than a batch of "
            f"{task.batch_size}. Lower train.batch_size or train.validation_share."
        )
    model = build_model(model_config)
    matched = load_weights(model, start / WEIGHTS, leave=anew)
    fit = Fit(model, task, fit_config, resume, processes)
    if processes.first:
        print(f"{task.name}: {len(matched)} of {len(model.state_dict())} tensors from {start}")
    state, history = fit.run(report)
    if not processes.first:
        return
    model.load_state_dict(state)
    probability, presence = predict(
        model.eval(),
        task.data.images,
        task.data.stacks[task.data.held_out],
        precision=task.precision,
        name=f"{task.name} out-of-fold",
    )
    save_snapshots([*fit.snapshots.states, state], model_config, out)
    write_csv(out / "history.csv", history.reindex(columns=HISTORY))
    write_array(out / "oof_probability.npy", probability.astype(np.float16))
    write_csv(out / "oof_tiles.csv", pd.DataFrame({"id": task.data.ids, "presence": presence}))

"""Masked pretraining of the segmentation network on all tiles, labelled or not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from salt.augment import Augmentation
from salt.dataset import WHOLE, Batch, LabelledTiles, open_images, open_stacks, training_batches
from salt.files import write_csv
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.task import FitConfig, Report
from salt.models.masked import MaskedModel, random_squares, reconstruction_loss
from salt.models.registry import build_model
from salt.models.segmenter import ModelConfig, save_model
from salt.padding import crop, pad
from salt.seeding import derive_seed
from salt.stacks import lie_along_section, read_neighbours


def read_images(
    ingest: Path,
    index: Path,
    *,
    stack_width: int,
    padding: str,
    input_size: int,
    depth_input: str = "none",
) -> LabelledTiles:
    """Return all tiles that are not constant, train and test alike, with blank masks.

    A constant tile has nothing to be drawn from what is left of it.
    """
    store, stacks = open_stacks(ingest, index, stack_width)
    rows = np.flatnonzero(~store.table["is_constant"].to_numpy(bool))
    blank = np.broadcast_to(np.zeros((), np.uint8), (len(rows), *store.images.shape[1:]))
    ids = list(store.table["id"].iloc[rows])
    images = open_images(store, index, padding, input_size, depth_input)
    along = lie_along_section(read_neighbours(index))
    return LabelledTiles(images, stacks[rows], blank, blank, ids, along)


class PretrainingTask:
    """Fit a `MaskedModel` to images alone; see `salt.fit.task.Task`."""

    name = "pretrain"

    def __init__(
        self,
        tiles: LabelledTiles,
        augmentation: Augmentation,
        *,
        batch_size: int,
        mask_ratio: float,
        patch_size: int,
        seed: int,
        workers: int,
        part: slice = WHOLE,
    ) -> None:
        self.tiles, self.augmentation, self.batch_size = tiles, augmentation, batch_size
        self.mask_ratio, self.patch_size = mask_ratio, patch_size
        self.seed, self.workers, self.part = seed, workers, part
        self.squares = torch.Generator()

    def steps(self) -> int:
        """Batches in an epoch."""
        return max(len(self.tiles) // self.batch_size, 1)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the epoch's augmented batches, the hidden squares reseeded for the epoch."""
        self.squares.manual_seed(derive_seed(self.seed, "squares", epoch))
        return training_batches(
            self.tiles,
            epoch=epoch,
            seed=self.seed,
            batch_size=self.batch_size,
            augmentation=self.augmentation,
            workers=self.workers,
            part=self.part,
        )

    def loss(self, model: MaskedModel, batch: Batch, share: float) -> torch.Tensor:
        """Hide squares of the padded batch and return the error in drawing them.

        Padding copies the tile's pixels, so a hidden pixel is hidden in its copies as well, and
        of real margins all that is no neighbour's is hidden.
        """
        size, padding = model.segmenter.config.input_size, model.segmenter.config.padding
        images = pad(batch.images, size, padding).contiguous(memory_format=torch.channels_last)
        whole = len(images) * (self.part.step or 1)  # all processes draw the same for all tiles
        drawn = random_squares(whole, size, self.patch_size, self.mask_ratio, self.squares)
        hidden = drawn[self.part].to(images.device)
        hidden = torch.maximum(crop(hidden, batch.images.shape[-1]), 1 - batch.valid)
        hidden = pad(hidden, size, padding)
        stack = images[:, : model.segmenter.config.stack_width]
        return reconstruction_loss(model(images, hidden).float(), stack, hidden)

    def validate(self, model: MaskedModel) -> dict[str, float]:
        """Nothing is chosen by score here: the last epoch counts."""
        return {}


def pretrain(
    task: PretrainingTask,
    model_config: ModelConfig,
    fit_config: FitConfig,
    *,
    out: Path,
    resume: Path,
    report: Report,
    processes: Processes,
) -> None:
    """Pretrain and write weights.safetensors, config.json and history.csv to `out`.

    The heads' weights are written too, so that the folder is a whole model; training leaves
    them out. With 0 epochs the weights are the random ones, and training starts from them.
    """
    model = MaskedModel(build_model(model_config))
    state, history = Fit(model, task, fit_config, resume, processes).run(report)
    if not processes.first:
        return
    model.load_state_dict(state)
    save_model(model.segmenter.state_dict(), model_config, out)
    write_csv(
        out / "history.csv", history.reindex(columns=["epoch", "learning_rate", "train_loss"])
    )

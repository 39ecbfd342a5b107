"""The second round: a fold's network goes on learning, from its pseudo-labelled tiles as well.

Every step sees a labelled batch and a pseudo-labelled one, each in a pass of its own, and
weighs the latter's loss below the former's (Lee 2013, "Pseudo-Label").
"""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from salt.dataset import Batch, LabelledTiles
from salt.errors import StoreError
from salt.files import read_array, read_csv, replacing
from salt.fit.fold import FoldData
from salt.fit.segmentation import SegmentationTask
from salt.models.segmenter import CONFIG, WEIGHTS, Network
from salt.models.snapshots import discard_snapshots, snapshot_folders
from salt.store import TileStore

TRAINED = (WEIGHTS, CONFIG, "history.csv", "oof_probability.npy", "oof_tiles.csv")


@dataclass(frozen=True)
class BatchPair:
    """A labelled batch and a pseudo-labelled one."""

    labelled: Batch
    pseudo: Batch

    @property
    def ids(self) -> list[str]:
        """The tiles' ids, for messages."""
        return self.labelled.ids + self.pseudo.ids

    def to(self, device: torch.device) -> "BatchPair":
        """Move every tensor."""
        return BatchPair(self.labelled.to(device), self.pseudo.to(device))


class StudentTask:
    """Fit a network to labelled and pseudo-labelled tiles; see `salt.fit.task.Task`.

    An epoch is one over the labelled tiles, with as many pseudo-labelled batches: if there are
    fewer of those they come again, if more the epoch sees a random part.
    """

    def __init__(self, labelled: SegmentationTask, tiles: LabelledTiles, weight: float) -> None:
        self.name, self.data, self.precision = labelled.name, labelled.data, labelled.precision
        self.batch_size = labelled.batch_size
        self.labelled, self.pseudo = labelled, labelled.on(tiles)
        self.weight = weight

    def steps(self) -> int:
        """Batches in an epoch."""
        return self.labelled.steps()

    def batches(self, epoch: int) -> Iterator[BatchPair]:
        """Yield the epoch's pairs of augmented batches."""
        rounds = -(-self.steps() // self.pseudo.steps())
        again = (self.pseudo.batches(epoch * rounds + turn) for turn in range(rounds))
        pseudo = itertools.chain.from_iterable(again)
        for pair in zip(self.labelled.batches(epoch), pseudo, strict=False):
            yield BatchPair(*pair)

    def loss(self, model: Network, batch: BatchPair, share: float) -> torch.Tensor:
        """Return the weighted mean of both losses, with the terms' weights of the last epoch."""
        del share  # a loss schedule belongs to the first round, and has ended
        labelled = self.labelled.loss(model, batch.labelled, 1.0)
        pseudo = self.pseudo.loss(model, batch.pseudo, 1.0)
        return (labelled + self.weight * pseudo) / (1 + self.weight)

    def validate(self, model: Network) -> dict[str, float]:
        """Return the metric at threshold 0.5 on the validation tiles, which have true labels."""
        return self.labelled.validate(model)


def pseudo_tiles(folder: Path, store: TileStore, data: FoldData) -> LabelledTiles:
    """Open what the pseudo stage chose, as labelled tiles on the fold's images.

    Raises:
        StoreError: the files disagree, or a tile has a label of its own.
    """
    masks, ids = read_array(folder / "masks.npy"), list(read_csv(folder / "tiles.csv")["id"])
    rows = store.rows_of(ids) if ids else np.empty(0, np.int64)
    if len(masks) != len(ids) or (rows < len(store.masks)).any():
        raise StoreError(
            f"{folder}: {len(masks)} masks and {len(ids)} ids; expected one mask for each of some "
            "test tiles. Rerun the pseudo stage with `dvc repro -f`."
        )
    masks, along = np.asarray(masks), data.training.along_section
    return LabelledTiles(data.images, data.stacks[rows], masks, np.zeros_like(masks), ids, along)


def pass_on(train: Path, out: Path, snapshots: int = 0) -> None:
    """Copy a fold's first round with its snapshots: there is no second one."""
    discard_snapshots(out)
    earlier = snapshot_folders(train, snapshots)[:-1]
    sources = [place / name for place in earlier for name in (WEIGHTS, CONFIG)]
    for source in [*sources, *(train / name for name in TRAINED)]:
        with replacing(out / source.relative_to(train)) as part:
            shutil.copyfile(source, part)

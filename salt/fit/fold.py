"""What one fold's training sees: its tiles, those that choose the epoch, those held out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salt.dataset import LabelledTiles, TileImages, labelled_tiles, open_images, open_stacks
from salt.errors import StoreError
from salt.files import read_csv
from salt.seeding import derive_seed
from salt.stacks import lie_along_section, read_neighbours
from salt.store import open_store

STORE = ("images.npy", "masks.npy", "ignore.npy", "tiles.csv")


@dataclass(frozen=True)
class FoldData:
    """What one fold's training may and may not see.

    Attributes:
        training: tiles to learn from; validation: tiles of other groups that choose the epoch.
        synthetic: labelled synthetic tiles, possibly none.
        images, stacks: every tile of the store and its stack's rows.
        held_out: rows of the fold's own tiles.
        ids: their ids.
    """

    training: LabelledTiles
    validation: LabelledTiles
    synthetic: LabelledTiles
    images: TileImages
    stacks: np.ndarray
    held_out: np.ndarray
    ids: list[str]


def read_fold(
    ingest: Path,
    index: Path,
    synthesize: Path,
    *,
    fold: int,
    stack_width: int,
    padding: str,
    input_size: int,
    validation_share: float,
    seed: int,
    depth_input: str = "none",
) -> FoldData:
    """Split the labelled tiles for one fold.

    The validation tiles are whole groups (sections; blocks of the demo) of the training
    folds, about `validation_share` of them, so that the fold's own tiles choose nothing.

    Raises:
        StoreError: folds.csv is not about this store, or has no such fold.
    """
    store, stacks = open_stacks(ingest, index, stack_width)
    folds = read_csv(index / "folds.csv")
    if list(folds["id"]) != list(store.labelled["id"]):
        raise StoreError(
            f"{index}/folds.csv is not about the {len(store.masks)} labelled tiles of {ingest}. "
            "Rerun the index stage with `dvc repro -f index`."
        )
    in_fold = (folds["fold"] == fold).to_numpy()
    if not in_fold.any() or in_fold.all():
        raise StoreError(
            f"{index}/folds.csv: fold {fold} has {in_fold.sum()} of {len(folds)} tiles; expected "
            "some and not all. Check index.folds and rerun the index stage."
        )
    images = open_images(store, index, padding, input_size, depth_input)
    along_section = lie_along_section(read_neighbours(index))
    tiles = labelled_tiles(store, stacks, images, along_section)
    rows = np.flatnonzero(~in_fold)
    chosen = _whole_groups(folds["group"].to_numpy()[rows], validation_share, seed)
    return FoldData(
        training=tiles.subset(rows[~chosen]),
        validation=tiles.subset(rows[chosen]),
        synthetic=_synthetic_tiles(synthesize, stack_width),
        images=tiles.images,
        stacks=stacks,
        held_out=np.flatnonzero(in_fold),
        ids=list(folds["id"][in_fold]),
    )


def _synthetic_tiles(folder: Path, stack_width: int) -> LabelledTiles:
    store = open_store(folder)
    return labelled_tiles(store, np.repeat(np.arange(len(store.table))[:, None], stack_width, 1))


def _whole_groups(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose random groups that together hold about `share` of the tiles; a bool per tile.

    A group that would carry the choice past 1.5 times the share is passed over, so one large
    section cannot starve training; with too few groups nothing may be chosen.
    """
    names, sizes = np.unique(groups, return_counts=True)
    target = share * len(groups)
    chosen: list[int] = []
    held = 0
    for index in np.random.default_rng(derive_seed(seed, "validation")).permutation(len(names)):
        if held < target and held + sizes[index] <= 1.5 * target:
            chosen.append(int(names[index]))
            held += int(sizes[index])
    return np.isin(groups, chosen)


def fold_inputs(ingest: Path, index: Path, synthesize: Path) -> list[Path]:
    """Return the files that decide what a fold's training sees, for `resume_folder`."""
    return [
        *(folder / name for folder in (ingest, synthesize) for name in STORE),
        *(index / name for name in ("neighbours.csv", "folds.csv")),
    ]

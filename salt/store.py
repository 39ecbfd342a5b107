"""The tile store: one folder of memory-mapped tiles with one table row each.

    images.npy   uint8 [n, 101, 101]   grey amplitude
    masks.npy    uint8 [m, 101, 101]   {0, 1}, 1 is salt; labelled tiles only
    ignore.npy   uint8 [m, 101, 101]   {0, 1}, 1 is left out of loss and score
    tiles.csv    n rows, labelled ones first, `row` = index into images (and masks if < m)
    summary.json counts, for people and for the report

Labelled tiles (split `train`) come first and sorted by id within their split, so that
`masks[row]` needs no second index and 19,000 empty masks are never stored.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import read_array, read_csv, write_array, write_csv, write_json

TILE_SIZE = 101  # pixels per side, fixed by the competition's run-length format
COLUMNS = [
    "id",
    "split",
    "row",
    "depth",
    "salt_fraction",
    "coverage_class",
    "is_constant",
    "is_vertical",
    "sha256",
]
TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class TileStore:
    """Tiles opened read-only from a folder.

    Attributes:
        table: `COLUMNS` (and any a source adds), one row per tile, in row order.
        images: uint8 [n, 101, 101], memory-mapped.
        masks: uint8 [m, 101, 101] in {0, 1}, labelled tiles only.
        ignore: uint8 [m, 101, 101] in {0, 1}.
    """

    table: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray
    ignore: np.ndarray

    @property
    def labelled(self) -> pd.DataFrame:
        """Rows of the table that have a mask."""
        return self.table.iloc[: len(self.masks)]

    @property
    def unlabelled(self) -> pd.DataFrame:
        """Rows of the table that have none: the test tiles."""
        return self.table.iloc[len(self.masks) :]

    def rows_of(self, ids: pd.Series | list[str]) -> np.ndarray:
        """Return the row of each id, in the order given.

        Raises:
            StoreError: an id is not in the store.
        """
        rows = pd.Index(self.table["id"]).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            unknown = [name for name, row in zip(ids, rows, strict=True) if row < 0]
            raise StoreError(
                f"{len(unknown)} ids are not in the tile store (first: {unknown[0]!r}); "
                "expected ids of its tiles.csv. Rerun the stages from ingest with `dvc repro`."
            )
        return rows


def open_store(folder: Path) -> TileStore:
    """Open the store in `folder`.

    Raises:
        StoreError: a file is missing, or the files disagree with each other.
    """
    table = read_csv(folder / "tiles.csv")
    images, masks, ignore = (
        read_array(folder / f"{name}.npy") for name in ("images", "masks", "ignore")
    )
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise StoreError(f"{folder}/tiles.csv: no column {missing[0]!r}; expected {COLUMNS}.")
    if len(images) != len(table) or len(ignore) != len(masks):
        raise StoreError(
            f"{folder}: {len(table)} table rows, {len(images)} images, {len(masks)} masks and "
            f"{len(ignore)} ignore masks do not belong together. Delete the folder and rerun."
        )
    in_order = (table["row"] == np.arange(len(table))).all()
    labelled_first = (table["split"].eq(TRAIN) == (np.arange(len(table)) < len(masks))).all()
    if not (in_order and labelled_first):
        raise StoreError(
            f"{folder}/tiles.csv: rows out of order; expected `row` 0, 1, 2 ... with the "
            f"{len(masks)} labelled tiles first. Delete the folder and rerun."
        )
    return TileStore(table=table, images=images, masks=masks, ignore=ignore)


def write_store(
    folder: Path,
    table: pd.DataFrame,
    images: np.ndarray,
    masks: np.ndarray,
    ignore: np.ndarray,
    summary: dict[str, Any],
) -> None:
    """Write a store; `table` must have `COLUMNS`, labelled tiles first, in row order."""
    write_array(folder / "images.npy", images)
    write_array(folder / "masks.npy", masks)
    write_array(folder / "ignore.npy", ignore)
    write_csv(folder / "tiles.csv", table)
    write_json(folder / "summary.json", summary)
    open_store(folder)


def coverage_class(salt_fraction: np.ndarray) -> np.ndarray:
    """Return 0 for empty tiles, else 1 + the tenth of coverage: (0, 0.1] is 1, (0.9, 1] is 10."""
    return np.ceil(np.asarray(salt_fraction) * 10).astype(np.int64)


def is_vertical(mask: np.ndarray) -> bool:
    """Tell whether a mask is made of pure columns from some row to an edge.

    Such masks (about 110 in TGS) come from labelling by columns: every column is all
    salt or none below one common row (or above one).
    """
    if not mask.any() or mask.all():
        return False
    rows = np.flatnonzero(mask.any(axis=1))
    band = mask[rows[0] : rows[-1] + 1]
    touches_edge = rows[0] == 0 or rows[-1] == len(mask) - 1
    return bool(touches_edge and (band == band[:1]).all() and len(band) > 1)

"""Which tiles are the channels of a 2.5-D stack, and whether these lie side by side."""

from pathlib import Path

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import read_csv
from salt.store import TileStore

NEIGHBOUR_COLUMNS = ("id", "left", "right", "up", "down", "previous", "next")


def read_neighbours(index: Path) -> pd.DataFrame:
    """Read the index's neighbours.csv, with "" where a tile has no such neighbour."""
    return read_csv(index / "neighbours.csv", NEIGHBOUR_COLUMNS)


def stack_rows(store: TileStore, neighbours: pd.DataFrame, width: int) -> np.ndarray:
    """Return int64 [n, width]: for every tile the rows of (previous, own, next).

    A missing neighbour is replaced by the tile itself, so that a stack never shows a place
    it does not belong to. `width` 1 is the tile alone.

    Raises:
        StoreError: the neighbour table is not about this store's tiles.
    """
    require_same_tiles(store, neighbours)
    own = np.arange(len(store.table))
    if width == 1:
        return own[:, None]
    columns = [_neighbour_rows(store, neighbours["previous"], own), own]
    columns.append(_neighbour_rows(store, neighbours["next"], own))
    return np.stack(columns, axis=1)


def lie_along_section(neighbours: pd.DataFrame) -> bool:
    """Tell whether stacks lie along the section: previous and next are left and right.

    Such a stack is mirrored whole: what lay left of a tile then lies right of it, so the order
    of the channels is reversed too. Stacks across the section, or by depth, keep theirs.
    """
    sides, channels = neighbours[["left", "right"]], neighbours[["previous", "next"]]
    named = (channels != "").to_numpy().any()
    return bool(named and np.array_equal(channels.to_numpy(), sides.to_numpy()))


def require_same_tiles(store: TileStore, neighbours: pd.DataFrame) -> None:
    """Refuse a neighbour table that is not about the store's tiles, in their order.

    Raises:
        StoreError: it is not.
    """
    if list(neighbours["id"]) != list(store.table["id"]):
        raise StoreError(
            f"neighbours.csv has {len(neighbours)} tiles that are not the store's "
            f"{len(store.table)} in order. Rerun the index stage with `dvc repro -f index`."
        )


def _neighbour_rows(store: TileStore, neighbour_ids: pd.Series, own: np.ndarray) -> np.ndarray:
    named = (neighbour_ids != "").to_numpy()
    rows = own.copy()
    rows[named] = store.rows_of(list(neighbour_ids[named]))
    return rows

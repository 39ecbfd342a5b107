"""Mosaics as data: read back from neighbours.csv, taken by size, stitched into one array."""

from pathlib import Path

import numpy as np
import pandas as pd

from salt.errors import InputError, StoreError
from salt.files import read_csv
from salt.neighbours.sections import SIDES, Layout

PLACE = ("mosaic", "row", "column")
ID_COLUMNS = ("id", *SIDES, "previous", "next")  # text, even where every id looks like a number


def read_layout(path: Path, ids: pd.Series) -> Layout:
    """Return where each of `ids` lies according to the index stage's neighbours.csv.

    Raises:
        StoreError: no such file, or its tiles are not `ids` in order.
    """
    table = read_csv(path, ID_COLUMNS)
    missing = [name for name in ("id", *PLACE) if name not in table.columns]
    if missing or table["id"].tolist() != ids.tolist():
        problem = f"no column {missing[0]!r}" if missing else f"{len(table)} other or unordered ids"
        raise StoreError(
            f"{path}: {problem}; expected id, mosaic, row, column of all {len(ids)} tiles in the "
            "tile store's order. Rerun the index stage."
        )
    return Layout(*(table[name].to_numpy(np.int64) for name in PLACE))


def sections_of(layout: Layout) -> list[np.ndarray]:
    """Return the tiles of every mosaic of two or more, ascending int64 [k], largest first."""
    order = np.argsort(layout.mosaic, kind="stable")
    starts = np.unique(layout.mosaic[order], return_index=True)[1]
    sections = [tiles for tiles in np.split(order, starts[1:]) if len(tiles) > 1]
    return sorted(sections, key=len, reverse=True)


def stitch(tiles: np.ndarray, rows: np.ndarray, columns: np.ndarray, gap: float) -> np.ndarray:
    """Put tiles [k, H, W, ...] side by side: [R * H, C * W, ...], `gap` where no tile lies.

    `rows` and `columns` int [k] are the tiles' cells; the smallest of each comes first.

    Raises:
        InputError: no tiles, not one cell per tile, or two tiles in one cell.
    """
    cells = set(zip(rows.tolist(), columns.tolist(), strict=False))
    if not len(tiles) or not len(tiles) == len(rows) == len(columns) == len(cells):
        raise InputError(
            f"{len(tiles)} tiles, {len(rows)} rows and {len(columns)} columns that name "
            f"{len(cells)} cells; expected one cell for each tile. Pass the tiles of one mosaic."
        )
    down, across = rows - rows.min(), columns - columns.min()
    shape = (down.max() + 1, across.max() + 1)
    grid = np.full((*shape, *tiles.shape[1:]), gap, tiles.dtype)  # [R, C, H, W, ...]
    grid[down, across] = tiles
    height, width = tiles.shape[1:3]
    return grid.swapaxes(1, 2).reshape(shape[0] * height, shape[1] * width, *tiles.shape[3:])

"""Previous and next tile of each tile: the channels of a 2.5-D stack."""

import numpy as np
import pandas as pd

from salt.errors import StoreError

GEOMETRY = ["volume", "inline", "crossline", "sample"]


def stack_neighbours(table: pd.DataFrame, stack: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the previous and the next tile, int64 [n] each, -1 where none.

    Args:
        table: the store's tiles.
        stack: `volume`: the same place on the inlines before and behind, from the columns
            volume, inline, crossline and sample; `depth`: the next shallower and next deeper
            tile, an approximation (TGS tiles of like depth need not be near each other);
            `none`: no neighbours.

    Raises:
        StoreError: `volume` is asked for and the tiles' geometry is not known.
    """
    nobody = np.full(len(table), -1, np.int64)
    if stack == "none":
        return nobody, nobody.copy()
    if stack == "depth":
        return _by_depth(table)
    missing = [name for name in GEOMETRY if name not in table.columns]
    if missing:
        raise StoreError(
            f"index.stack is volume, but tiles.csv has no column {missing[0]!r}; expected a "
            "source with known inlines. Set index.stack to depth or none."
        )
    return _by_volume(table)


def _by_volume(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    places = list(table[GEOMETRY].itertuples(index=False, name=None))
    row_at = {place: row for row, place in enumerate(places)}

    def beside(offset: int) -> np.ndarray:
        rows = [row_at.get((v, inline + offset, c, s), -1) for v, inline, c, s in places]
        return np.array(rows, np.int64)

    return beside(-1), beside(1)


def _by_depth(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Ties go by row; tiles without depth have no neighbours."""
    depth = table["depth"].to_numpy(np.float64)
    order = np.argsort(depth, kind="stable")
    order = order[~np.isnan(depth[order])]
    previous, following = (np.full(len(table), -1, np.int64) for _ in range(2))
    previous[order[1:]] = order[:-1]
    following[order[:-1]] = order[1:]
    return previous, following

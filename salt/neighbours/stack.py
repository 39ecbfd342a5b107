"""Previous and next tile of each tile: the channels of a 2.5-D stack."""

import numpy as np
import pandas as pd

from salt.errors import StoreError

GEOMETRY = ["volume", "inline", "crossline", "sample"]


def has_geometry(table: pd.DataFrame) -> bool:
    """Tell whether the store knows each tile's volume, inline, crossline and sample."""
    return set(GEOMETRY) <= set(table.columns)


def stack_neighbours(
    table: pd.DataFrame, stack: str, sides: dict[str, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the previous and the next tile, int64 [n] each, -1 where none.

    Args:
        table: the store's tiles.
        stack: `volume`: the same place on the inlines before and behind, from the columns
            volume, inline, crossline and sample; `section`: the tiles on the left and on the
            right in the stitched section; `depth`: the next shallower and next deeper tile, an
            approximation (TGS tiles of like depth need not be near each other); `none`: no
            neighbours.
        sides: for `section`, at least `left` and `right`: the row of every tile's neighbour
            there, int64 [n], -1 where none.

    Raises:
        StoreError: `section` is asked for without sides; `volume`, and the tiles' geometry is
            not known or puts two tiles in one place.
    """
    nobody = np.full(len(table), -1, np.int64)
    if stack == "none":
        return nobody, nobody.copy()
    if stack == "depth":
        return _by_depth(table)
    if stack == "section":
        return _by_section(sides)
    if not has_geometry(table):
        missing = next(name for name in GEOMETRY if name not in table.columns)
        raise StoreError(
            f"index.stack is volume, but tiles.csv has no column {missing!r}; expected a "
            "source with known inlines. Set index.stack to section, depth or none."
        )
    return _by_volume(table)


def _by_volume(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    places = list(table[GEOMETRY].itertuples(index=False, name=None))
    row_at = {place: row for row, place in enumerate(places)}
    if len(row_at) < len(places):
        twice = table.loc[table.duplicated(GEOMETRY), ["id", *GEOMETRY]].iloc[0].to_dict()
        raise StoreError(
            f"tiles.csv puts two tiles in one place ({twice}); expected one tile for each "
            f"{', '.join(GEOMETRY)}. Mend the source's geometry and rerun ingest."
        )

    def beside(offset: int) -> np.ndarray:
        rows = [row_at.get((v, inline + offset, c, s), -1) for v, inline, c, s in places]
        return np.array(rows, np.int64)

    return beside(-1), beside(1)


def _by_section(sides: dict[str, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    if sides is None:
        raise StoreError(
            "index.stack is section, but no sections were given; expected the left and right "
            "neighbour of every tile. Pass `sides`, as `salt.neighbours.jigsaw` finds them."
        )
    return sides["left"], sides["right"]


def _by_depth(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Ties go by row; tiles without depth have no neighbours."""
    depth = table["depth"].to_numpy(np.float64)
    order = np.argsort(depth, kind="stable")
    order = order[~np.isnan(depth[order])]
    previous, following = (np.full(len(table), -1, np.int64) for _ in range(2))
    previous[order[1:]] = order[:-1]
    following[order[:-1]] = order[1:]
    return previous, following

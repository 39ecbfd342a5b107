"""What a section says about its tiles' maps: vertical masks run on, seams agree.

Both steps work on the probability maps [k, H, W] of one section's tiles and their cells (row
and column, int [k]), and turn no label of a tile into that tile's own map.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from salt.neighbours.mosaics import sections_of
from salt.neighbours.sections import Layout

SALT = 0.5  # probability from which a pixel counts as salt
LEAST_BAND = 10  # rows a mask must run straight down before it is continued
TOLERATED = 0.02  # share of its salt by which it may stray from its bottom row

MapReader = Callable[[np.ndarray], np.ndarray]  # tiles [k] -> their maps [k, H, W]


@dataclass(frozen=True)
class Steps:
    """Which steps are taken.

    Attributes:
        extend_vertical: whether vertical masks run on into the tile below.
        seam_feather: pixels on either side of a seam that are blended; 0: none.
    """

    extend_vertical: bool = False
    seam_feather: int = 0

    def __bool__(self) -> bool:
        return self.extend_vertical or self.seam_feather > 0


def process_sections(
    layout: Layout,
    steps: Steps,
    read: MapReader,
    predicted: np.ndarray,
    known: np.ndarray,
    wanted: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (tiles [k], processed maps float32 [k, H, W]) of each section with wanted tiles.

    Args:
        layout: where the n tiles lie.
        steps: what to do.
        read: gives the maps before processing.
        predicted: bool [n], tiles whose map is a prediction.
        known: bool [n], tiles whose map is the truth, 0 or 1: it informs and stays as it is.
        wanted: bool [n], those of them that are yielded.

    Tiles neither predicted nor known count as absent.
    """
    for section in sections_of(layout):
        tiles = section[predicted[section] | known[section]]
        asked = wanted[tiles]
        if not asked.any():
            continue
        maps = read(tiles).astype(np.float32)
        row, column = layout.row[tiles], layout.column[tiles]
        if steps.extend_vertical:
            maps = extend_vertical(maps, row, column, known[tiles])
        maps = feather_seams(maps, row, column, steps.seam_feather)
        yield tiles[asked], maps[asked]


def extend_vertical(
    maps: np.ndarray, row: np.ndarray, column: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Return maps in which a tile below a vertical mask continues that mask's bottom row.

    Tiles are taken from the top, so that a mask runs on through a whole column of tiles; a
    tile whose map is known (bool [k]) keeps it. Source: part of TGS is labelled by columns
    (`salt.store.is_vertical`), and such labels go on below the tile's edge.
    """
    extended = maps.copy()
    tile_at = {cell: tile for tile, cell in enumerate(zip(row, column, strict=True))}
    for tile in np.lexsort((column, row)):
        above = tile_at.get((row[tile] - 1, column[tile]))
        if above is not None and not known[tile] and runs_down(extended[above]):
            extended[tile] = extended[above][-1]
    return extended


def runs_down(probability: np.ndarray) -> bool:
    """Tell whether a map [H, W] holds salt in columns that are constant down to its last row.

    The columns may start anywhere, `LEAST_BAND` rows up at the least. A last row without salt,
    or of salt alone, has no vertical border to continue.
    """
    mask = probability >= SALT
    bottom = mask[-1]
    if not bottom.any() or bottom.all():
        return False
    band = mask[np.flatnonzero(mask.any(axis=1))[0] :]
    strayed = np.count_nonzero(band != bottom)
    return bool(len(band) >= LEAST_BAND and strayed <= TOLERATED * np.count_nonzero(band))


def feather_seams(maps: np.ndarray, row: np.ndarray, column: np.ndarray, width: int) -> np.ndarray:
    """Return maps that agree across seams: each fades into its neighbour mirrored at the seam.

    At the seam both take their mean; the neighbour's share falls linearly from one half to
    nothing `width` pixels away, where `width` is at most half a tile. First left and right,
    then up and down, which keeps the agreement wherever four tiles meet.
    """
    if not width:
        return maps
    beside = _pairs(row, column)
    below = _pairs(column, row)
    blended = _fade(maps, *beside, width)
    return _fade(blended.swapaxes(1, 2), *below, width).swapaxes(1, 2)


def _pairs(line: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return first and second tile, int [p] each, wherever two follow each other on a line."""
    tile_at = {cell: tile for tile, cell in enumerate(zip(line, place, strict=True))}
    pairs = [
        (tile, tile_at[at, after + 1])
        for (at, after), tile in tile_at.items()
        if (at, after + 1) in tile_at
    ]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return first, second


def _fade(maps: np.ndarray, first: np.ndarray, second: np.ndarray, width: int) -> np.ndarray:
    """Blend the last columns of the first tiles with the first columns of the second ones."""
    share = (0.5 * (1 - np.arange(width) / width)).astype(maps.dtype)  # from the seam inwards
    before, after = maps[first][:, :, : -width - 1 : -1], maps[second][:, :, :width]  # [p, H, w]
    blended = maps.copy()
    blended[first, :, -width:] = ((1 - share) * before + share * after)[:, :, ::-1]
    blended[second, :, :width] = (1 - share) * after + share * before
    return blended

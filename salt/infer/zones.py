"""Small components and holes cleaned out of all thresholds of a map at once.

Removing the small components of a mask is what the grey-scale area opening does to every
threshold of a map in one pass (Vincent 1993, "Grayscale area openings and closings, their
efficient implementation and applications"): it commutes with thresholding. Filling holes is
the same on the map upside down. So a rule's masks never need to be drawn to be scored.

Both act on flat zones, the connected sets of pixels of one level. A smooth map has some
hundreds of them instead of thousands of pixels, and an opening moves whole zones: the zones
and who touches whom are found once for all sizes, and so are the pixels of each kind in them.
"""

from dataclasses import dataclass

import numpy as np
from skimage.measure import label


@dataclass(frozen=True)
class FlatZones:
    """The flat zones of some maps.

    Attributes:
        of_pixel: intp [n, H, W], each pixel's zone.
        tile: intp [Z], each zone's map.
        levels: [Z], unsigned as those of the maps.
        areas: int64 [Z], pixels.
        pairs: intp [2, E], zones that touch along an edge; a pair may come again.
    """

    of_pixel: np.ndarray
    tile: np.ndarray
    levels: np.ndarray
    areas: np.ndarray
    pairs: np.ndarray


def find_zones(levels: np.ndarray) -> FlatZones:
    """Find the flat zones of maps of levels, unsigned integers [n, H, W]."""
    tiles = np.arange(len(levels))[:, None, None]
    # Every other map is lifted above its neighbours, so that no zone spans two.
    lifted = levels.astype(np.intp) + tiles % 2 * (int(levels.max(initial=0)) + 1)
    of_pixel = label(lifted, background=-1, connectivity=1) - 1
    count = int(of_pixel.max(initial=-1)) + 1
    tile, level = np.empty(count, np.intp), np.empty(count, levels.dtype)
    tile[of_pixel], level[of_pixel] = tiles, levels
    areas = np.bincount(of_pixel.ravel(), minlength=count)
    return FlatZones(of_pixel, tile, level, areas, _touching(of_pixel))


def clean_zones(
    zones: FlatZones, minimum_components: np.ndarray, fill_holes: np.ndarray
) -> np.ndarray:
    """Return the zones' levels in maps whose every threshold is that of `zones`, cleaned.

    Args:
        minimum_components, fill_holes: pixels [C], [F]; see `salt.infer.shapes.clean_masks`.

    Returns:
        [C, F, Z] in the type of the levels.
    """
    top = zones.levels.max(initial=0)
    openings = open_zones(zones.levels, zones.areas, zones.pairs, minimum_components)
    cleaned = np.empty((len(minimum_components), len(fill_holes), len(zones.levels)), top.dtype)
    for size, opening in enumerate(openings):
        if size and np.array_equal(opening, openings[size - 1]):
            cleaned[size] = cleaned[size - 1]
        elif fill_holes.any():
            cleaned[size] = top - open_zones(
                top - opening, zones.areas, zones.pairs, fill_holes + (fill_holes > 0)
            )
        else:
            cleaned[size] = opening
    return cleaned


def open_zones(
    levels: np.ndarray, areas: np.ndarray, pairs: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Return the area openings of a graph by each size, [C, Z] in the type of `levels`.

    From the highest level down, zones that reach it are joined with those they touch; a zone
    is lowered to the first level at which its component has `sizes` pixels, else to 0.

    Args:
        levels, areas: [Z], levels as unsigned integers, and pixels of each zone.
        pairs: [2, E], zones that touch; two of them may have the same level.
        sizes: pixels [C].
    """
    opened = np.zeros((len(sizes), len(levels)), levels.dtype)
    top = int(levels.max(initial=0))
    zones_at, pairs_at = _by_level(levels, top), _by_level(levels[pairs].min(axis=0), top)
    parent, total = np.arange(len(levels)), areas.copy()
    waiting = [np.empty(0, np.intp)] * len(sizes)
    for level in range(top, 0, -1):
        _join(parent, total, pairs[:, pairs_at[level]])
        for row, size in enumerate(sizes.tolist()):
            zones = np.concatenate([waiting[row], zones_at[level]])
            large = total[_roots(parent, zones)] >= size
            opened[row, zones[large]] = level
            waiting[row] = zones[~large]
    return opened


def _join(parent: np.ndarray, total: np.ndarray, pairs: np.ndarray) -> None:
    """Join the trees of the zones in `pairs`, and add their areas up in `total`.

    Every root is hooked onto a lower one it touches, until none touches another (Shiloach and
    Vishkin 1982, "An O(log n) parallel connectivity algorithm").
    """
    hooked = []
    while len(pairs[0]):
        ends = _roots(parent, pairs)
        pairs = np.sort(ends[:, ends[0] != ends[1]], axis=0)
        parent[pairs[1]] = pairs[0]
        hooked.append(pairs[1])
    if hooked:
        absorbed = np.unique(np.concatenate(hooked))
        np.add.at(total, _roots(parent, absorbed), total[absorbed])


def _roots(parent: np.ndarray, zones: np.ndarray) -> np.ndarray:
    """Return the root of each zone's tree, and shorten the way there."""
    roots = parent[zones]
    while not np.array_equal(above := parent[roots], roots):
        roots = above
    parent[zones] = roots
    return roots


def _by_level(levels: np.ndarray, top: int) -> list[np.ndarray]:
    """Return for each level from 0 to `top` the indices that have it."""
    order = np.argsort(levels, kind="stable")
    return np.split(order, np.searchsorted(levels[order], np.arange(1, top + 1)))


def _touching(of_pixel: np.ndarray) -> np.ndarray:
    """Return the different zones along rows and columns, [2, E]; pairs may come again."""
    across, down = (of_pixel[:, :, :-1], of_pixel[:, :, 1:]), (of_pixel[:, :-1], of_pixel[:, 1:])
    pairs = [np.stack([one[one != other], other[one != other]]) for one, other in (across, down)]
    return np.concatenate(pairs, axis=1)

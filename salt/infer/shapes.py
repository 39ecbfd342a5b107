"""Small components and small holes: removed from masks, and from all thresholds at once.

A component is a largest set of salt pixels that touch along edges, a hole one of background,
at the tile's border too. Components below a size become background, then holes up to a size
become salt.

Removing the small components of a mask is what the grey-scale area opening does to every
threshold of a map in one pass (Vincent 1993, "Grayscale area openings and closings, their
efficient implementation and applications"): it commutes with thresholding. Filling holes is
the same on the map upside down. So a rule's masks never need to be drawn to be scored.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import label
from skimage.morphology import area_opening, max_tree

_WITHIN_TILES = np.zeros((3, 3, 3), bool)
_WITHIN_TILES[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def clean_masks(masks: np.ndarray, minimum_component: int, fill_holes: int) -> np.ndarray:
    """Return masks bool [n, H, W] without small components, then without small holes.

    Components of fewer than `minimum_component` pixels are removed, holes of up to
    `fill_holes` pixels filled; 0 leaves either alone.
    """
    if minimum_component > 1:
        masks = _without_small(masks, minimum_component)
    if fill_holes:
        masks = ~_without_small(~masks, fill_holes + 1)
    return masks


def clean_levels(
    levels: np.ndarray, minimum_components: np.ndarray, fill_holes: np.ndarray
) -> np.ndarray:
    """Return maps whose every threshold is the cleaned threshold of `levels`.

    Args:
        levels: unsigned integers [n, H, W].
        minimum_components, fill_holes: pixels [C], [F].

    Returns:
        The maps of every pair, [C, F, n, H, W].
    """
    top = levels.max(initial=0)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the trees are built outside Python's lock
        cleaned = pool.map(
            lambda tile: _cleaned_tile(tile, top, minimum_components, fill_holes), levels
        )
        return np.stack(list(cleaned), axis=2)


def _cleaned_tile(
    levels: np.ndarray, top: int, minimum_components: np.ndarray, fill_holes: np.ndarray
) -> np.ndarray:
    """Return [C, F, H, W]; sizes that leave the same map share its tree."""
    cleaned = np.empty((len(minimum_components), len(fill_holes), *levels.shape), levels.dtype)
    openings = _opened(levels, minimum_components)
    for size, opening in enumerate(openings):
        if size and np.array_equal(opening, openings[size - 1]):
            cleaned[size] = cleaned[size - 1]
        else:
            cleaned[size] = top - np.stack(_opened(top - opening, fill_holes + (fill_holes > 0)))
    return cleaned


def _without_small(masks: np.ndarray, size: int) -> np.ndarray:
    labels, _ = label(masks, _WITHIN_TILES)
    kept = np.bincount(labels.ravel()) >= size
    kept[0] = False
    return kept[labels]


def _opened(levels: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Return the area openings of one map [H, W] by each size; one tree serves them all."""
    if not levels.any() or sizes.max() <= 1:
        return [levels] * len(sizes)
    rows, columns = (np.flatnonzero(levels.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # outside there is nothing
    inside = np.pad(levels[box], 1)  # max_tree cannot take fewer than three pixels a side
    parent, order = max_tree(inside, connectivity=1)
    openings = []
    for size in sizes.tolist():
        opening = levels.copy()
        if size > 1:
            opening[box] = area_opening(inside, size, 1, parent, order)[1:-1, 1:-1]
        openings.append(opening)
    return openings

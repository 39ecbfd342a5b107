"""Small components and small holes, removed from masks.

A component is a largest set of salt pixels that touch along edges, a hole one of background,
at the tile's border too. Components below a size become background, then holes up to a size
become salt. `salt.infer.zones` does the same to all thresholds of a map at once.
"""

import numpy as np
from scipy.ndimage import label

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


def _without_small(masks: np.ndarray, size: int) -> np.ndarray:
    labels, _ = label(masks, _WITHIN_TILES)
    kept = np.bincount(labels.ravel()) >= size
    kept[0] = False
    return kept[labels]

"""Compare neighbours that were found with neighbours that are known."""

import numpy as np

from salt.neighbours.sections import SIDES


def seam_accuracy(sides: dict[str, np.ndarray], places: np.ndarray) -> dict[str, float | int]:
    """Return how many seams are true, and the precision and recall of those found.

    Args:
        sides: at least `right` and `down`: the neighbour found there, int64 [n], -1 where none.
        places: int [n, k + 2]; where each tile was cut: whatever names its picture in the
            first k columns, then its column and its row there, counted in tiles.

    Returns:
        true_seams, found_seams, precision and recall (1 where there is nothing to divide by).
    """
    tile_at = {tuple(place): tile for tile, place in enumerate(places.tolist())}
    true_seams = found_seams = hits = 0
    for side in ("right", "down"):
        rows, columns = SIDES[side]
        step = [0] * (places.shape[1] - 2) + [columns, rows]
        truth = np.array([tile_at.get(tuple(place), -1) for place in (places + step).tolist()])
        true_seams += int((truth >= 0).sum())
        found_seams += int((sides[side] >= 0).sum())
        hits += int(((truth >= 0) & (truth == sides[side])).sum())
    return {
        "true_seams": true_seams,
        "found_seams": found_seams,
        "precision": round(hits / found_seams, 5) if found_seams else 1.0,
        "recall": round(hits / true_seams, 5) if true_seams else 1.0,
    }

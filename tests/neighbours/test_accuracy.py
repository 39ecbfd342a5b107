"""Found seams against true ones."""

import numpy as np

from salt.neighbours.accuracy import seam_accuracy

# 0 1    one picture, two rows of two tiles, and tile 4 alone in another
# 2 3
PLACES = np.array([(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 0)])


def test_a_wrong_and_a_missing_seam_are_counted() -> None:
    sides = {"right": np.array([1, -1, 4, -1, -1]), "down": np.array([2, -1, -1, -1, -1])}
    assert seam_accuracy(sides, PLACES) == {
        "true_seams": 4,
        "found_seams": 3,
        "precision": 0.66667,
        "recall": 0.5,
    }


def test_nothing_found_and_nothing_to_find_is_perfect() -> None:
    sides = {"right": np.array([-1]), "down": np.array([-1])}
    assert seam_accuracy(sides, np.array([[0, 0, 0]]))["precision"] == 1.0
    assert seam_accuracy(sides, np.array([[0, 0, 0]]))["recall"] == 1.0

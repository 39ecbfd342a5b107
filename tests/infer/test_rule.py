"""The decision rule on tiles small enough to decide by eye."""

import numpy as np
import pytest

from salt.errors import StoreError
from salt.infer.rule import DEFAULT_RULE, Grid, Rule, apply_rule

NO_PRESENCE = np.array([np.nan])


def maps(*values: float) -> np.ndarray:
    """Return one probability map float16 [1, 1, k]."""
    return np.array([[values]], np.float16)


def test_a_pixel_at_the_threshold_is_salt_and_one_below_is_not():
    below = np.nextafter(np.float16(0.5), np.float16(0))
    masks = apply_rule(maps(0.0, below, 0.5, 1.0), NO_PRESENCE, DEFAULT_RULE)
    assert masks.dtype == np.uint8
    assert masks.tolist() == [[[0, 0, 1, 1]]]


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.3, 0.7, 1 / 3, 2 / 3, 1e-9, 0.9999])
def test_probabilities_are_compared_with_the_threshold_itself_not_its_float16(threshold):
    near = np.float16(threshold)
    stored = np.array([np.nextafter(near, np.float16(0)), near, np.nextafter(near, np.float16(1))])
    expected = [float(value) >= threshold for value in stored]
    masks = apply_rule(stored[None, None], NO_PRESENCE, Rule(threshold, 0, 0.0))
    assert masks[0, 0].astype(bool).tolist() == expected


def test_a_mask_below_the_minimum_size_becomes_empty_and_one_at_it_stays():
    probability = maps(0.9, 0.9, 0.9, 0.1)
    assert apply_rule(probability, NO_PRESENCE, Rule(0.5, 3, 0.0)).sum() == 3
    assert apply_rule(probability, NO_PRESENCE, Rule(0.5, 4, 0.0)).sum() == 0


def test_a_tile_below_the_presence_gate_becomes_empty_and_one_at_it_stays():
    probability = np.repeat(maps(0.9, 0.1), 3, axis=0)
    masks = apply_rule(probability, np.array([0.39, 0.4, 0.41]), Rule(0.5, 0, 0.4))
    assert masks.sum(axis=(1, 2)).tolist() == [0, 1, 1]


def test_the_minimum_size_counts_what_is_left_of_small_parts_and_filled_holes():
    probability = maps(0.9, 0.1, 0.9, 0.9, 0.9)
    assert apply_rule(probability, NO_PRESENCE, Rule(0.5, 4, 0.0, minimum_component=2)).sum() == 0
    assert apply_rule(probability, NO_PRESENCE, Rule(0.5, 5, 0.0, fill_holes=1)).sum() == 5
    assert apply_rule(probability, NO_PRESENCE, Rule(0.5, 3, 0.0, 2, 1)).tolist() == [
        [[0, 0, 1, 1, 1]]
    ]


def test_a_tile_without_presence_passes_every_gate():
    assert apply_rule(maps(0.9), NO_PRESENCE, Rule(0.5, 0, 1.0)).sum() == 1


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.001, np.inf])
def test_a_value_that_is_no_probability_is_refused(value):
    with pytest.raises(StoreError, match="expected 0 to 1"):
        apply_rule(maps(0.2, value), NO_PRESENCE, DEFAULT_RULE)


def test_probabilities_in_another_type_than_stored_are_refused():
    with pytest.raises(StoreError, match="float32; expected float16"):
        apply_rule(maps(0.2).astype(np.float32), NO_PRESENCE, DEFAULT_RULE)


def test_a_grid_spaces_thresholds_evenly_inside_zero_to_one_and_sorts_the_rest():
    grid = Grid.spanning(3, [20, 0, 20], [0.5, 0.0])
    assert grid.thresholds.tolist() == [0.25, 0.5, 0.75]
    assert grid.minimum_sizes.tolist() == [0, 20]
    assert grid.presence_gates.tolist() == [0.0, 0.5]

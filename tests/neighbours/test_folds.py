"""Folds that do not leak."""

import numpy as np
import pytest

from salt.errors import StoreError
from salt.neighbours.folds import (
    class_imbalance,
    depth_folds,
    groups_of,
    random_folds,
    section_folds,
    separated_pairs,
)


def _classes(draw: np.random.Generator, count: int) -> np.ndarray:
    return np.where(draw.random(count) < 0.38, 0, draw.integers(1, 11, count))


def test_tiles_of_a_mosaic_or_a_volume_are_one_group() -> None:
    mosaic = np.array([0, 0, 1, 2, 3, 4])
    volume = np.array([5, 5, 5, 6, 6, 7])
    assert groups_of(mosaic, volume).tolist() == [0, 0, 0, 1, 1, 2]
    assert groups_of(mosaic, None).tolist() == [0, 0, 1, 2, 3, 4]


def test_a_chain_of_mosaics_and_volumes_is_one_group() -> None:
    assert groups_of(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])).tolist() == [0, 0, 0, 0]


def test_no_group_is_split_and_classes_come_out_even() -> None:
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), draw.integers(1, 12, 300))
    classes = _classes(draw, len(groups))
    folds = section_folds(groups, classes, [0, 1, 2, 3, 4], np.random.default_rng(1))
    for group in range(300):
        assert len(set(folds[groups == group])) == 1
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() <= 3
    for label in range(11):
        counts = np.bincount(folds[classes == label], minlength=5)
        assert counts.max() - counts.min() <= max(3, 0.1 * counts.mean())


def test_one_giant_section_leaves_the_other_folds_balanced() -> None:
    groups = np.concatenate([np.zeros(40, int), np.arange(1, 61)])
    folds = section_folds(groups, np.zeros(100, int), [0, 1, 2], np.random.default_rng(0))
    assert sorted(np.bincount(folds).tolist()) == [30, 30, 40]


def test_every_fold_gets_a_group_even_if_there_are_only_as_many() -> None:
    folds = section_folds(np.arange(3), np.array([0, 0, 5]), [0, 1, 2], np.random.default_rng(0))
    assert sorted(folds.tolist()) == [0, 1, 2]


def test_equal_seeds_give_equal_folds() -> None:
    groups, classes = np.arange(50) // 2, _classes(np.random.default_rng(2), 50)
    deals = [section_folds(groups, classes, [0, 1], np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*deals)


def test_random_folds_spread_every_class_evenly() -> None:
    classes = _classes(np.random.default_rng(3), 500)
    folds = random_folds(classes, [0, 1, 2], np.random.default_rng(4))
    for label in range(11):
        counts = np.bincount(folds[classes == label], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_depth_folds_spread_shallow_deep_and_unknown_tiles_evenly() -> None:
    depth = np.concatenate([np.arange(500.0), np.full(60, np.nan)])
    depth = np.random.default_rng(5).permutation(depth)
    folds = depth_folds(depth, [0, 1, 2], np.random.default_rng(6))
    bins = [(depth >= low) & (depth < low + 50) for low in range(0, 500, 50)]
    for stratum in [*bins, np.isnan(depth)]:
        counts = np.bincount(folds[stratum], minlength=3)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 1


@pytest.mark.parametrize("depth", [np.full(9, np.nan), np.full(9, 40.0)])
def test_tiles_without_depth_or_of_one_depth_are_dealt_like_any(depth: np.ndarray) -> None:
    folds = depth_folds(depth, [0, 1, 2], np.random.default_rng(0))
    assert np.bincount(folds).tolist() == [3, 3, 3]


def test_the_imbalance_is_that_of_the_fold_least_like_all_tiles() -> None:
    classes = np.array([0, 0, 1, 1])
    assert class_imbalance(classes, np.array([0, 1, 0, 1])) == 0
    assert class_imbalance(classes, np.array([0, 0, 1, 1])) == 0.5
    # fold 0 holds classes 0, 0, 1: shares 2/3 and 1/3 against halves; fold 1 holds 1 alone
    assert class_imbalance(classes, np.array([0, 0, 0, 1])) == 0.5
    assert class_imbalance(classes, np.zeros(4, int)) == 0


def test_more_folds_than_groups_or_tiles_are_refused() -> None:
    draw = np.random.default_rng(0)
    with pytest.raises(StoreError, match="3 folds of 2 groups"):
        section_folds(np.array([0, 0, 1, 1]), np.zeros(4, int), [0, 1, 2], draw)
    with pytest.raises(StoreError, match="3 folds of 2 labelled tiles"):
        random_folds(np.zeros(2, int), [0, 1, 2], draw)


def test_separated_pairs_count_labelled_neighbours_only() -> None:
    fold = np.array([0, 0, 1])  # tile 3 is unlabelled
    right = np.array([1, 2, 3, -1])
    down = np.array([2, -1, -1, 0])
    assert separated_pairs([right], fold) == 1
    assert separated_pairs([right, down], fold) == 2

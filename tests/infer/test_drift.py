"""Coverage statistics by hand, and the distance against scipy."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from salt.infer.drift import coverage_statistics, drift_warnings, largest_distance


def coverage(generator: np.random.Generator, tiles: int, empty: float, power: float = 1.0):
    return np.where(generator.random(tiles) < empty, 0.0, generator.random(tiles) ** power)


def test_statistics_count_empty_tiles_and_coverage_classes():
    statistics = coverage_statistics(np.array([0.0, 0.0, 0.05, 0.95]))
    assert statistics["tiles"] == 4
    assert statistics["empty_share"] == 0.5
    assert statistics["mean_coverage"] == pytest.approx(0.25)
    assert statistics["class_shares"] == [0.5, 0.25, *[0.0] * 8, 0.25]


def test_the_distance_is_that_of_kolmogorov_and_smirnov():
    generator = np.random.default_rng(0)
    first, second = generator.random(70), generator.integers(0, 5, 90) / 5
    assert largest_distance(first, second) == pytest.approx(ks_2samp(first, second).statistic)


def test_predictions_spread_like_training_raise_no_warning():
    generator = np.random.default_rng(1)
    assert drift_warnings(coverage(generator, 19000, 0.39), coverage(generator, 3000, 0.39)) == []
    assert drift_warnings(coverage(generator, 20, 0.4), coverage(generator, 60, 0.4)) == []


def test_too_many_empty_masks_are_told_with_both_shares():
    generator = np.random.default_rng(1)
    warnings = drift_warnings(coverage(generator, 19000, 0.6), coverage(generator, 3000, 0.4))
    assert len(warnings) == 1
    assert "% of the predicted masks are empty" in warnings[0]


def test_masks_that_cover_too_little_are_told():
    generator = np.random.default_rng(1)
    warnings = drift_warnings(coverage(generator, 9000, 0.4, 3), coverage(generator, 3000, 0.4))
    assert len(warnings) == 1
    assert "tiles with salt are covered to" in warnings[0]


def test_a_submission_without_any_salt_is_told_once():
    training = coverage(np.random.default_rng(1), 3000, 0.4)
    assert len(drift_warnings(np.zeros(500), training)) == 1

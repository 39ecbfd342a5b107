"""Random fields: stationary, repeatable, and the same function on any grid."""

import numpy as np

from salt.synthesis.fields import FLAT, draw_field, window

GRID = window(3, 101, 101, inline_spacing=5, margin=16)


def test_a_window_starts_its_margin_before_the_corner() -> None:
    assert GRID.shape == (3, 133, 133)
    assert GRID.sample.min() == GRID.crossline.min() == -16
    assert GRID.inline.ravel().tolist() == [0, 5, 10]


def test_a_field_has_zero_mean_and_unit_variance_on_and_between_nodes() -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([draw_field(rng, GRID, (9, 20, 20))(GRID)[0] for _ in range(300)])
    deviation = draws.std(axis=0)
    assert abs(draws.mean()) < 0.03
    assert deviation.min() > 0.8 and deviation.max() < 1.25


def test_a_field_is_smooth_over_its_spacing() -> None:
    values = draw_field(np.random.default_rng(1), GRID, (50, 40, 40))(GRID)
    assert np.abs(np.diff(values, axis=1)).max() < 0.2


def test_a_field_does_not_vary_along_flat_axes() -> None:
    values = draw_field(np.random.default_rng(2), GRID, (30, FLAT, 30))(GRID)
    assert values.shape == (3, 1, 133)


def test_a_field_on_a_thinned_grid_is_the_thinned_field() -> None:
    field = draw_field(np.random.default_rng(3), GRID, (30, 20, 20))
    assert np.array_equal(field(GRID.thinned(4)), field(GRID)[:, 2::4, 2::4])

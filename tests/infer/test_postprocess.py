"""Vertical masks run on down a section, and maps agree across its seams."""

import numpy as np
import pytest

from salt.infer.postprocess import (
    Steps,
    extend_vertical,
    feather_seams,
    process_sections,
    runs_down,
)
from salt.neighbours.sections import Layout

SIZE = 101
TWO_DOWN = np.array([0, 1]), np.array([0, 0])  # rows and columns of a tile and the one below it


def columns_map(start: int = 0, first: int = 20, last: int = 60) -> np.ndarray:
    """A map of salt in columns first ... last - 1 from row `start` down to the last row."""
    probability = np.full((SIZE, SIZE), 0.1, np.float32)
    probability[start:, first:last] = 0.9
    return probability


@pytest.mark.parametrize("start", [0, 50, SIZE - 10])
def test_columns_that_reach_the_last_row_run_down(start: int) -> None:
    assert runs_down(columns_map(start))


@pytest.mark.parametrize(
    "probability",
    [
        np.zeros((SIZE, SIZE)),
        np.ones((SIZE, SIZE)),  # no vertical border inside
        columns_map(start=SIZE - 9),  # too short a band to be called columns
        columns_map(first=0, last=SIZE, start=50),  # a flat top alone
        np.tril(np.ones((SIZE, SIZE)), -30),  # a slope
        columns_map()[::-1] * (np.arange(SIZE) < 80)[:, None],  # ends above the last row
    ],
)
def test_other_masks_do_not_run_down(probability: np.ndarray) -> None:
    assert not runs_down(probability)


def test_a_prediction_may_stray_by_a_fiftieth_of_its_salt() -> None:
    within, beyond = columns_map(), columns_map()  # 40 columns of 101 pixels
    within[10:89, 20] = 0.1  # 79 of the 3,961 that are left
    beyond[10:90, 20] = 0.1  # 80 of 3,960
    assert runs_down(within)
    assert not runs_down(beyond)


def test_a_vertical_mask_continues_its_last_row_through_a_column_of_tiles() -> None:
    empty = np.full((SIZE, SIZE), 0.2, np.float32)
    maps = np.stack([empty, columns_map(60), empty, empty])
    rows, columns = np.array([2, 0, 1, 1]), np.array([3, 3, 3, 4])
    after = extend_vertical(maps, rows, columns, np.zeros(4, bool))
    assert (after[2] == columns_map(0)).all()
    assert (after[0] == columns_map(0)).all()
    assert (after[[1, 3]] == maps[[1, 3]]).all()


def test_a_known_mask_stays_and_ends_the_column() -> None:
    empty = np.full((SIZE, SIZE), 0.2, np.float32)
    maps = np.stack([columns_map(), np.zeros_like(empty), empty])
    rows, columns = np.arange(3), np.zeros(3, np.int64)
    after = extend_vertical(maps, rows, columns, np.array([False, True, False]))
    assert (after == maps).all()


def test_both_sides_of_a_seam_take_their_mean_and_fade_out() -> None:
    maps = np.stack(
        [np.full((SIZE, SIZE), 0.2, np.float32), np.full((SIZE, SIZE), 0.6, np.float32)]
    )
    left, right = feather_seams(maps, np.array([5, 5]), np.array([1, 2]), width=4)
    np.testing.assert_allclose(left[7, -5:], [0.2, 0.25, 0.3, 0.35, 0.4], rtol=1e-5)
    np.testing.assert_allclose(right[7, :5], [0.4, 0.45, 0.5, 0.55, 0.6], rtol=1e-5)
    assert (left[:, :-4] == maps[0, :, :-4]).all()


def test_four_tiles_agree_along_all_their_seams_also_at_the_corner() -> None:
    maps = np.random.default_rng(3).random((4, SIZE, SIZE), np.float32)
    rows, columns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    a, b, c, d = feather_seams(maps, rows, columns, width=50)
    np.testing.assert_allclose(a[:, -1], b[:, 0], atol=1e-6)
    np.testing.assert_allclose(c[:, -1], d[:, 0], atol=1e-6)
    np.testing.assert_allclose(a[-1], c[0], atol=1e-6)
    np.testing.assert_allclose(b[-1], d[0], atol=1e-6)
    assert min(m.min() for m in (a, b, c, d)) >= 0
    assert max(m.max() for m in (a, b, c, d)) <= 1


def test_tiles_that_do_not_touch_are_left_alone() -> None:
    maps = np.random.default_rng(4).random((3, SIZE, SIZE), np.float32)
    rows, columns = np.array([0, 1, 4]), np.array([0, 1, 4])
    assert (feather_seams(maps, rows, columns, width=9) == maps).all()
    assert (feather_seams(maps[:1], rows[:1], columns[:1], width=9) == maps[:1]).all()


def test_only_sections_with_wanted_tiles_come_and_absent_tiles_do_not_inform() -> None:
    layout = Layout(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0]), np.zeros(5, np.int64))
    maps = np.stack([columns_map()] + [np.zeros((SIZE, SIZE), np.float32)] * 4)
    wanted = np.array([False, True, False, False, True])
    steps = Steps(extend_vertical=True)

    def results(predicted: list[bool]) -> list[tuple[list[int], bool]]:
        known = np.zeros(5, bool)
        found = process_sections(
            layout, steps, lambda t: maps[t], np.array(predicted), known, wanted
        )
        return [(tiles.tolist(), bool(after.any())) for tiles, after in found]

    assert results([True] * 5) == [([1], True)]
    assert results([False, True, True, True, True]) == [([1], False)]


def test_steps_are_off_unless_asked_for() -> None:
    assert not Steps()
    assert Steps(extend_vertical=True)
    assert Steps(seam_feather=1)

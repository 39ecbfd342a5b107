"""Which maps may inform which: predictions for tiles that are scored, truth for test tiles."""

import numpy as np
import pandas as pd
import pytest

from salt.infer.postprocess import Steps
from salt.infer.sections import (
    TRIAL_FEATHER,
    continue_truth,
    measure_steps,
    process_out_of_fold,
    process_test,
)
from salt.neighbours.sections import Layout
from salt.store import TileStore

SIZE = 101
EXTEND = Steps(extend_vertical=True)
EMPTY = np.full((SIZE, SIZE), 0.1, np.float16)
COLUMNS = np.where(np.arange(SIZE) < 40, 0.9, 0.1).astype(np.float16) * np.ones(
    (SIZE, 1), np.float16
)
# Two labelled tiles of folds 0 and 1 lie below test tiles 2 and 3; labelled tile 4 below tile 0.
LAYOUT = Layout(np.array([0, 1, 0, 0, 1]), np.array([1, 1, 2, 0, 0]), np.zeros(5, np.int64))


def out_of_fold(fold: list[int], test: dict[int, list[np.ndarray]]) -> np.ndarray:
    maps = np.stack([EMPTY, EMPTY, EMPTY])
    tests = {name: np.stack(own) for name, own in test.items()}
    return process_out_of_fold(maps, np.array(fold), tests, LAYOUT, EXTEND)


def test_a_test_tile_informs_a_labelled_one_by_its_own_folds_network_alone() -> None:
    vertical, empty = [COLUMNS, COLUMNS], [EMPTY, EMPTY]
    only_other = out_of_fold([0, 0, 0], {0: empty, 1: vertical})
    assert (only_other == EMPTY).all()
    own = out_of_fold([0, 0, 0], {0: vertical, 1: empty})
    assert (own == COLUMNS).all()  # tile 2 by way of tile 0


def test_a_labelled_tile_of_another_fold_counts_as_absent() -> None:
    vertical = [COLUMNS, COLUMNS]
    split = out_of_fold([0, 1, 1], {0: vertical, 1: vertical})
    assert (split[0] == COLUMNS).all()
    assert (split[2] == EMPTY).all()  # the tile above it is of fold 0


def test_nothing_changes_while_no_step_is_asked_for() -> None:
    maps = np.stack([EMPTY, COLUMNS, EMPTY])
    tests = {0: np.stack([COLUMNS, COLUMNS])}
    after = process_out_of_fold(maps, np.zeros(3, int), tests, LAYOUT, Steps())
    assert (after == maps).all()


def store_of(truth: np.ndarray, test: int, ignore: np.ndarray | None = None) -> TileStore:
    """A store of these true masks and of test tiles, as far as the steps look at it."""
    table = pd.DataFrame({"row": range(len(truth) + test)})
    return TileStore(table, np.zeros(0), truth, np.zeros_like(truth) if ignore is None else ignore)


@pytest.mark.parametrize(("ignored", "expected"), [(0, COLUMNS > 0.5), (1, EMPTY)])
def test_a_true_mask_without_ignored_pixels_informs_the_test_tiles_below_it(
    ignored: int, expected: np.ndarray
) -> None:
    layout = Layout(np.array([0, 0]), np.array([0, 1]), np.zeros(2, np.int64))
    mask = (COLUMNS[None] > 0.5).astype(np.uint8)
    ignore = np.zeros_like(mask)
    ignore[0, 0, 0] = ignored
    maps = EMPTY[None].copy()
    process_test(maps, store_of(mask, 1, ignore), layout, EXTEND)
    assert (maps[0] == expected).all()
    assert maps.dtype == np.float16


@pytest.mark.parametrize("truth_of_zero", [EMPTY, COLUMNS])
def test_truth_is_continued_downwards_and_never_into_its_own_tile(
    truth_of_zero: np.ndarray,
) -> None:
    truth = (np.stack([truth_of_zero, EMPTY, EMPTY]) > 0.5).astype(np.uint8)
    maps = np.stack([EMPTY, EMPTY, EMPTY])
    tests = {0: np.stack([EMPTY, COLUMNS])}
    after = continue_truth(maps, np.zeros(3, int), tests, store_of(truth, 2), LAYOUT)
    assert (after[0] == EMPTY).all()
    assert (after[1] == COLUMNS).all()  # from the test tile above it
    assert after[2].any() and (after[2] == (truth[0] if truth[0].any() else EMPTY)).all()


@pytest.mark.parametrize("applied", [Steps(), Steps(extend_vertical=True, seam_feather=3)])
def test_the_effect_is_measured_whether_or_not_it_is_applied(applied: Steps) -> None:
    truth = (np.stack([COLUMNS, EMPTY, EMPTY]) > 0.5).astype(np.uint8)
    maps = np.stack([EMPTY, EMPTY, EMPTY])
    tests = {0: np.stack([COLUMNS, EMPTY])}
    fold, presence = np.zeros(3, int), np.full(3, np.nan)
    store = store_of(truth, 2)
    effects = measure_steps(maps, presence, fold, tests, store, LAYOUT, applied, seed=1)
    extended, from_truth = effects["extend_vertical"], effects["extend_vertical_from_truth"]
    assert extended["applied"] is from_truth["applied"] is applied.extend_vertical
    # tile 0 becomes right, tile 2 below it becomes wrong, tile 1 stays right: no gain
    assert (extended["masks_changed"], extended["gain"]) == (2, 0)
    assert extended["interval"][0] < 0 < extended["interval"][1]
    assert (from_truth["masks_changed"], from_truth["gain"]) == (2, 0)
    assert effects["seam_feather"]["applied"] is (applied.seam_feather > 0)
    assert effects["seam_feather"]["pixels"] == (applied.seam_feather or TRIAL_FEATHER)
    assert (maps == EMPTY).all()

"""The score against values computed by hand, and intervals against what statistics says."""

import numpy as np
import pytest

from salt.errors import InputError
from salt.metrics import (
    bootstrap_interval,
    mean_score,
    paired_gain,
    score_in_tenths,
    tile_dice,
    tile_iou,
    tile_scores,
)


def tile(*pixels: int, side: int = 10) -> np.ndarray:
    """Return one mask [1, side, side] with the pixels of these flat indices set."""
    mask = np.zeros(side * side, bool)
    mask[list(pixels)] = True
    return mask.reshape(1, side, side)


NOTHING = tile()


def test_both_empty_scores_one():
    assert tile_scores(NOTHING, NOTHING).tolist() == [1.0]


def test_salt_predicted_where_there_is_none_scores_zero():
    assert tile_scores(tile(5), NOTHING).tolist() == [0.0]


def test_an_empty_prediction_scores_zero_even_where_salt_covers_most_of_the_tile():
    assert tile_scores(NOTHING, tile(*range(95))).tolist() == [0.0]


def test_a_perfect_mask_scores_one():
    assert tile_scores(tile(1, 2, 3), tile(1, 2, 3)).tolist() == [1.0]


def test_masks_that_do_not_touch_score_zero():
    assert tile_scores(tile(1, 2), tile(3, 4)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("intersection", "union", "score"),
    [
        (1, 2, 0.0),  # 0.50 exceeds nothing, not even 0.50
        (51, 100, 0.1),  # 0.50
        (11, 20, 0.1),  # 0.55 is reached, not exceeded: 0.50
        (3, 5, 0.2),  # 0.60 is reached, not exceeded: 0.50, 0.55
        (13, 20, 0.3),  # 0.65 is reached, not exceeded: 0.50, 0.55, 0.60
        (14, 20, 0.4),
        (15, 20, 0.5),
        (16, 20, 0.6),
        (17, 20, 0.7),
        (18, 20, 0.8),
        (19, 20, 0.9),  # 0.95 is reached, not exceeded
        (191, 200, 1.0),  # 0.955 exceeds all ten
        (49, 100, 0.0),
    ],
)
def test_an_iou_must_exceed_a_threshold_to_count(intersection, union, score):
    side = 20
    truth = tile(*range(union), side=side)
    prediction = tile(*range(intersection), side=side)
    assert tile_scores(prediction, truth, None).tolist() == [score]
    assert tile_scores(truth, prediction, None).tolist() == [score]


def test_every_exact_threshold_at_the_size_of_a_real_tile_is_not_exceeded():
    unions = np.arange(20, 10201, 20)
    for passed, twentieths in enumerate(range(10, 20)):
        at_threshold = unions // 20 * twentieths
        assert (score_in_tenths(at_threshold, unions) == passed).all()
        assert (score_in_tenths(at_threshold + 1, unions) > passed).all()


def test_ignored_pixels_count_neither_as_salt_nor_as_background():
    truth, prediction = tile(0, 1, 2, 3), tile(0, 1, 2, 9)  # 3 of 5: thresholds 0.50 and 0.55
    assert tile_scores(prediction, truth).tolist() == [0.2]
    assert tile_scores(prediction, truth, tile(3)).tolist() == [0.5]  # 3 of 4 = 0.75
    assert tile_scores(prediction, truth, tile(3, 9)).tolist() == [1.0]
    assert tile_scores(prediction, truth, tile(50)).tolist() == [0.2]


def test_a_mask_inside_ignored_pixels_alone_is_empty():
    assert tile_scores(tile(7), NOTHING, tile(7)).tolist() == [1.0]
    assert tile_scores(NOTHING, tile(7), tile(7)).tolist() == [1.0]
    assert tile_scores(tile(7), tile(8), tile(7)).tolist() == [0.0]


def test_the_mean_score_is_over_tiles():
    predictions = np.concatenate([NOTHING, tile(5), tile(0, 1, 2, 9)])
    truths = np.concatenate([NOTHING, NOTHING, tile(0, 1, 2, 3)])
    assert mean_score(predictions, truths) == pytest.approx((1 + 0 + 0.2) / 3)


def test_masks_of_zeros_and_ones_score_like_boolean_ones():
    prediction, truth = tile(0, 1, 2, 9), tile(0, 1, 2, 3)
    assert tile_scores(prediction.astype(np.uint8), truth.astype(np.uint8)).tolist() == [0.2]


def test_iou_and_dice_follow_their_definitions():
    predictions = np.concatenate([tile(0, 1, 2, 9), NOTHING, tile(5)])
    truths = np.concatenate([tile(0, 1, 2, 3), NOTHING, NOTHING])
    assert tile_iou(predictions, truths).tolist() == [3 / 5, 1.0, 0.0]
    assert tile_dice(predictions, truths).tolist() == [6 / 8, 1.0, 0.0]


def test_iou_and_dice_leave_ignored_pixels_out():
    prediction, truth, ignore = tile(0, 1, 2, 9), tile(0, 1, 2, 3), tile(9)
    assert tile_iou(prediction, truth, ignore).tolist() == [3 / 4]
    assert tile_dice(prediction, truth, ignore).tolist() == [6 / 7]


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(InputError, match="one shape"):
        tile_scores(tile(1), tile(1, side=9))
    with pytest.raises(InputError, match="one shape"):
        tile_scores(np.concatenate([tile(1), tile(2)]), tile(1))


def test_a_mean_over_no_tiles_is_refused():
    with pytest.raises(InputError, match="no tiles"):
        mean_score(NOTHING[:0], NOTHING[:0])
    with pytest.raises(InputError, match="no tiles"):
        bootstrap_interval(np.array([]), 10, np.random.default_rng(0))


def test_a_bootstrap_interval_agrees_with_the_standard_error_of_the_mean():
    values = np.random.default_rng(1).normal(0.7, 0.3, size=2000)
    low, high = bootstrap_interval(values, 4000, np.random.default_rng(2))
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)


def test_a_higher_confidence_widens_the_interval():
    values = np.random.default_rng(1).random(200)
    narrow = bootstrap_interval(values, 500, np.random.default_rng(2), confidence=0.8)
    wide = bootstrap_interval(values, 500, np.random.default_rng(2), confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_interval_of_equal_values_is_that_value():
    assert bootstrap_interval(np.full(7, 0.25), 100, np.random.default_rng(0)) == (0.25, 0.25)


def test_equal_generators_give_equal_intervals():
    values = np.random.default_rng(1).random(50)
    intervals = [bootstrap_interval(values, 100, np.random.default_rng(3)) for _ in range(2)]
    assert intervals[0] == intervals[1]


def test_a_paired_gain_is_of_the_first_over_the_second():
    gain = paired_gain(np.array([0.5, 1.0]), np.array([0.25, 0.75]), 100, np.random.default_rng(0))
    assert gain == (0.25, 0.25, 0.25)


def test_a_small_gain_on_every_tile_is_certain_although_tiles_differ_widely():
    reference = np.random.default_rng(1).random(300)
    gain = paired_gain(reference + 0.01, reference, 500, np.random.default_rng(2))
    assert gain.mean == pytest.approx(0.01)
    assert 0 < gain.low <= gain.high


def test_scores_of_different_numbers_of_tiles_are_not_paired():
    with pytest.raises(InputError, match="2 scores over 3"):
        paired_gain(np.zeros(2), np.zeros(3), 10, np.random.default_rng(0))

"""The competition's score, overlap measures for training logs, and bootstrap intervals.

The score of a tile is 1 if truth and prediction are both empty and 0 if only one is;
otherwise it is the share of the thresholds 0.50, 0.55 ... 0.95 that the IoU exceeds
strictly (https://www.kaggle.com/c/tgs-salt-identification-challenge, "Evaluation").
IoU = i / u and a threshold k / 20 are compared as the integers 20 i > k u, because
neither 13 / 20 nor 0.65 is exact in floating point.

Masks are bool or {0, 1}; pixels of the `ignore` mask count neither as salt nor as background.
"""

from typing import NamedTuple

import numpy as np

from salt.errors import InputError

IOU_TWENTIETHS = np.arange(10, 20)  # 0.50, 0.55 ... 0.95
FULL_TENTHS = len(IOU_TWENTIETHS)  # one tenth of a score per threshold
_RESAMPLES_AT_ONCE = 64  # bounds the memory of the bootstrap


class Gain(NamedTuple):
    """A mean difference and the interval it lies in."""

    mean: float
    low: float
    high: float


def score_in_tenths(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Return ten times the score, an exact integer, from pixel counts of any one shape.

    An empty side makes the intersection 0, which exceeds no threshold, unless both are
    empty: then the union is 0 too and the score is full.
    """
    intersection, union = np.asarray(intersection, np.int64), np.asarray(union, np.int64)
    tenths = np.zeros(intersection.shape, np.int64)
    for twentieths in IOU_TWENTIETHS:
        tenths += 20 * intersection > twentieths * union
    return np.where(union == 0, FULL_TENTHS, tenths)


def tile_scores(
    predictions: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None = None
) -> np.ndarray:
    """Return the competition's score of each tile, float64 [n], from masks [n, H, W].

    Raises:
        InputError: the arrays differ in shape.
    """
    intersection, predicted, true = _pixel_counts(predictions, truths, ignore)
    return score_in_tenths(intersection, predicted + true - intersection) / FULL_TENTHS


def mean_score(
    predictions: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None = None
) -> float:
    """Return the mean of `tile_scores`: the number on the competition's leaderboard.

    Raises:
        InputError: the arrays differ in shape, or there are no tiles.
    """
    scores = tile_scores(predictions, truths, ignore)
    _require_tiles(scores)
    return float(scores.mean())


def tile_iou(
    predictions: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None = None
) -> np.ndarray:
    """Return intersection over union of each tile, float64 [n]; 1 where both are empty.

    Raises:
        InputError: the arrays differ in shape.
    """
    intersection, predicted, true = _pixel_counts(predictions, truths, ignore)
    return _ratio(intersection, predicted + true - intersection)


def tile_dice(
    predictions: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None = None
) -> np.ndarray:
    """Return 2 |P and T| / (|P| + |T|) of each tile, float64 [n]; 1 where both are empty.

    Raises:
        InputError: the arrays differ in shape.
    """
    intersection, predicted, true = _pixel_counts(predictions, truths, ignore)
    return _ratio(2 * intersection, predicted + true)


def bootstrap_interval(
    values: np.ndarray, samples: int, generator: np.random.Generator, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values` [n].

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Raises:
        InputError: there are no values.
    """
    values = np.asarray(values, np.float64)
    _require_tiles(values)
    means = np.empty(samples)
    for start in range(0, samples, _RESAMPLES_AT_ONCE):
        stop = min(start + _RESAMPLES_AT_ONCE, samples)
        drawn = generator.integers(len(values), size=(stop - start, len(values)))
        means[start:stop] = values[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_gain(
    scores: np.ndarray,
    reference: np.ndarray,
    samples: int,
    generator: np.random.Generator,
    confidence: float = 0.95,
) -> Gain:
    """Return how much `scores` [n] lie above `reference` [n] in the mean, with its interval.

    Both score the same tiles in the same order; tiles are resampled as pairs, so what is
    hard for both cancels out.

    Raises:
        InputError: the two differ in length, or are empty.
    """
    scores, reference = np.asarray(scores, np.float64), np.asarray(reference, np.float64)
    if scores.shape != reference.shape:
        raise InputError(
            f"a paired gain of {len(scores)} scores over {len(reference)}; "
            "expected two scores for each tile. Score both on the same tiles."
        )
    gains = scores - reference
    low, high = bootstrap_interval(gains, samples, generator, confidence)
    return Gain(float(gains.mean()), low, high)


def _pixel_counts(
    predictions: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels of intersection, prediction and truth, int64 [n] each."""
    shapes = [np.shape(mask) for mask in (predictions, truths, ignore) if mask is not None]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3:
        raise InputError(
            f"masks of shapes {shapes}; expected one shape [n, H, W] for prediction, truth "
            "and ignore mask. Pass masks of the same tiles."
        )
    predicted, true = np.asarray(predictions, bool), np.asarray(truths, bool)
    if ignore is not None:
        counted = ~np.asarray(ignore, bool)
        predicted, true = predicted & counted, true & counted
    intersection, predicted_pixels, true_pixels = (
        np.count_nonzero(mask, axis=(1, 2)) for mask in (predicted & true, predicted, true)
    )
    return intersection, predicted_pixels, true_pixels


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.ones(len(whole)), where=whole > 0)


def _require_tiles(values: np.ndarray) -> None:
    if not len(values):
        raise InputError("a mean over no tiles; expected at least one. Check the tiles passed in.")

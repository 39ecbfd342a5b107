"""Calibration: how often salt is there where a map says 70 %, and a temperature that mends it.

All measures need only how often each probability was forecast and how often it came true.
Stored maps are float16, which has 15,361 values from 0 to 1: one histogram over them stands
for any number of pixels without loss, and a temperature is fitted to it in milliseconds.

A temperature is monotone: it makes probabilities honest and leaves their order alone. The
decision rule searches its threshold on the maps themselves and would find the same masks
again, so the pipeline measures calibration (in the report) and does not rewrite its maps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from salt.errors import InputError
from salt.infer.rule import HIGHEST_BITS, probability_bits

BINS = 15  # as in Guo et al. 2017
TEMPERATURES = (0.05, 20.0)  # searched; beyond, all forecasts are 0 and 1, or all near 0.5
SATURATION = 2.0**-12  # a float16 cannot tell forecasts this near to 1 from 1; likewise at 0
_LEVELS = HIGHEST_BITS + 1
_TILES_AT_ONCE = 64


@dataclass(frozen=True)
class Outcomes:
    """Forecasts and what came of them.

    Attributes:
        probability: float64 [k] in [0, 1], ascending, each once.
        count: int64 [k], how often each was forecast, above 0.
        positive: int64 [k], how often it came true.
    """

    probability: np.ndarray
    count: np.ndarray
    positive: np.ndarray

    def at_temperature(self, temperature: float) -> "Outcomes":
        """Return the same outcomes under forecasts scaled by `temperature_scaled`."""
        scaled = temperature_scaled(self.probability, temperature)
        return _grouped(scaled, self.count, self.positive)


class Brier(NamedTuple):
    """The Brier score and its parts: score = reliability - resolution + uncertainty."""

    score: float
    reliability: float
    resolution: float
    uncertainty: float


@dataclass(frozen=True)
class Calibration:
    """A temperature and what it does to tiles it was not fitted on.

    Attributes:
        temperature: fitted on all folds, for tiles without truth.
        fold_temperatures: for each fold, fitted on the others.
        before: all outcomes as forecast.
        after: all outcomes, each fold's scaled by the temperature of the others.
    """

    temperature: float
    fold_temperatures: dict[int, float]
    before: Outcomes
    after: Outcomes


def count_outcomes(
    probability: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None = None
) -> Outcomes:
    """Count the pixels of float16 maps [n, H, W] by probability and truth {0, 1} [n, H, W].

    Pixels of the `ignore` mask [n, H, W] are left out.

    Raises:
        InputError: the arrays differ in shape.
        StoreError: probabilities are not float16 in [0, 1].
    """
    shapes = [np.shape(maps) for maps in (probability, truths, ignore) if maps is not None]
    if len(set(shapes)) > 1:
        raise InputError(
            f"maps of shapes {shapes}; expected one shape [n, H, W] for probability, truth and "
            "ignore mask. Pass maps of the same tiles."
        )
    histogram = np.zeros((3, _LEVELS), np.int64)  # background, salt, ignored
    for start in range(0, len(probability), _TILES_AT_ONCE):
        part = slice(start, start + _TILES_AT_ONCE)
        kinds = np.asarray(truths[part], bool).astype(np.intp)
        if ignore is not None:
            kinds[np.asarray(ignore[part], bool)] = 2
        codes = kinds * _LEVELS + probability_bits(probability[part])
        histogram += np.bincount(codes.ravel(), minlength=histogram.size).reshape(3, -1)
    count, positive = histogram[0] + histogram[1], histogram[1]
    seen = np.flatnonzero(count)
    levels = seen.astype(np.uint16).view(np.float16).astype(np.float64)
    return Outcomes(levels, count[seen], positive[seen])


def forecast_outcomes(probability: np.ndarray, happened: np.ndarray) -> Outcomes:
    """Count forecasts [n] in [0, 1] of events that `happened` or not {0, 1} [n]; NaN is none.

    Raises:
        InputError: the two differ in length, or a forecast is no probability.
    """
    probability = np.asarray(probability, np.float64)
    if probability.shape != np.shape(happened):
        raise InputError(
            f"{probability.shape} forecasts of {np.shape(happened)} events; expected one "
            "forecast per event. Pass both of the same tiles."
        )
    made = ~np.isnan(probability)
    if (np.abs(probability[made] - 0.5) > 0.5).any():
        raise InputError(
            f"forecasts from {probability[made].min()} to {probability[made].max()}; expected "
            "0 to 1. Pass probabilities, not logits."
        )
    ones = np.ones(np.count_nonzero(made), np.int64)
    return _grouped(probability[made], ones, np.asarray(happened, bool)[made].astype(np.int64))


def pooled(parts: Iterable[Outcomes]) -> Outcomes:
    """Join outcomes of different tiles.

    Raises:
        InputError: there are none.
    """
    parts = list(parts)
    if not parts:
        raise InputError("no outcomes to join; expected at least one part. Check the tiles.")
    names = ("probability", "count", "positive")
    return _grouped(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def reliability_table(
    outcomes: Outcomes, bins: int = BINS, equal_mass: bool = False
) -> pd.DataFrame:
    """Return the points of a reliability diagram (DeGroot and Fienberg 1983).

    Args:
        bins: number of bins: of equal width, ((b - 1) / bins, b / bins] as in Guo et al.
            2017, or with `equal_mass` of about equally many forecasts.

    Returns:
        One row per bin that has forecasts: bin (0 ... bins - 1), count, probability (mean
        forecast) and frequency (share that came true).
    """
    number = _bin_numbers(outcomes, bins, equal_mass)
    count, forecast, positive = (
        np.bincount(number, weights, minlength=bins)
        for weights in (outcomes.count, outcomes.count * outcomes.probability, outcomes.positive)
    )
    filled = np.flatnonzero(count)
    return pd.DataFrame(
        {
            "bin": filled,
            "count": count[filled].astype(np.int64),
            "probability": forecast[filled] / count[filled],
            "frequency": positive[filled] / count[filled],
        }
    )


def calibration_error(outcomes: Outcomes, bins: int = BINS, equal_mass: bool = False) -> float:
    """Return the expected calibration error, in [0, 1]: the mean of |forecast - frequency|.

    Forecasts of the positive class, as in Naeini et al. 2015 (AAAI); bins as in
    `reliability_table`.

    Raises:
        InputError: there are no forecasts.
    """
    _require_forecasts(outcomes)
    table = reliability_table(outcomes, bins, equal_mass)
    gaps = (table["probability"] - table["frequency"]).abs()
    return float((gaps * table["count"]).sum() / table["count"].sum())


def brier_score(outcomes: Outcomes, bins: int = BINS) -> Brier:
    """Return the mean squared error of the forecasts and its parts, all in [0, 1] but resolution.

    Murphy 1973: reliability is how far frequencies lie from forecasts (0 is best),
    resolution how far they lie apart (high is best), uncertainty what the events
    themselves bring. What forecasts tell apart within a bin counts as resolution, so that
    the three add up for any bins (Stephenson et al. 2008); it may then fall below 0.

    Raises:
        InputError: there are no forecasts.
    """
    _require_forecasts(outcomes)
    p, count, positive = outcomes.probability, outcomes.count, outcomes.positive
    table = reliability_table(outcomes, bins)
    frequency = positive.sum() / count.sum()
    score = (positive * (1 - p) ** 2 + (count - positive) * p**2).sum() / count.sum()
    gaps = table["probability"] - table["frequency"]
    reliability = (gaps**2 * table["count"]).sum() / count.sum()
    uncertainty = frequency * (1 - frequency)
    parts = (score, reliability, reliability + uncertainty - score, uncertainty)
    return Brier(*map(float, parts))


def log_loss(outcomes: Outcomes) -> float:
    """Return the mean negative log likelihood in nat; forecasts of 0 and 1 count as saturated.

    Raises:
        InputError: there are no forecasts.
    """
    _require_forecasts(outcomes)
    logit, negative = _logit(outcomes.probability), outcomes.count - outcomes.positive
    losses = outcomes.positive * np.logaddexp(0, -logit) + negative * np.logaddexp(0, logit)
    return float(losses.sum() / outcomes.count.sum())


def temperature_scaled(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Return sigmoid(logit(p) / temperature), float64, same shape (Guo et al. 2017).

    Above 1 forecasts move towards 0.5, below 1 away from it. Exact 0 and 1 have no logit and
    count as saturated: 2^-12 from the end.
    """
    from scipy.special import expit

    return expit(_logit(probability) / temperature)


def fit_temperature(outcomes: Outcomes) -> float:
    """Return the temperature of the least log loss.

    The loss is convex in 1 / temperature, so its one minimum is where the derivative
    changes sign; it is sought within `TEMPERATURES`, whose end is returned if it lies
    beyond. Forecasts that are all 0.5 have the temperature 1: none changes them.

    Raises:
        InputError: there are no forecasts.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    _require_forecasts(outcomes)
    logit = _logit(outcomes.probability)
    if not logit.any():
        return 1.0

    def slope(sharpness: float) -> float:
        return float(logit @ (outcomes.count * expit(sharpness * logit) - outcomes.positive))

    hottest, coldest = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(hottest) >= 0:
        return TEMPERATURES[1]
    if slope(coldest) <= 0:
        return TEMPERATURES[0]
    return 1 / brentq(slope, hottest, coldest, xtol=1e-10)


def calibrate(folds: Mapping[int, Outcomes]) -> Calibration:
    """Fit a temperature on all folds, and judge it on each fold by that of the others.

    Raises:
        InputError: fewer than two folds have forecasts.
    """
    made = {fold: outcomes for fold, outcomes in folds.items() if len(outcomes.count)}
    if len(made) < 2:
        raise InputError(
            f"forecasts of folds {list(made)}; expected at least two, because each fold's "
            "temperature is fitted on the others. Pass the outcomes of every fold."
        )
    others = {fold: pooled(made[name] for name in made if name != fold) for fold in made}
    temperatures = {fold: fit_temperature(rest) for fold, rest in others.items()}
    before = pooled(made.values())
    after = pooled(part.at_temperature(temperatures[fold]) for fold, part in made.items())
    return Calibration(fit_temperature(before), temperatures, before, after)


def _grouped(probability: np.ndarray, count: np.ndarray, positive: np.ndarray) -> Outcomes:
    values, group = np.unique(probability, return_inverse=True)
    totals = (np.zeros(len(values), np.int64), np.zeros(len(values), np.int64))
    for total, part in zip(totals, (count, positive), strict=True):
        np.add.at(total, group, part)
    return Outcomes(values, *totals)


def _bin_numbers(outcomes: Outcomes, bins: int, equal_mass: bool) -> np.ndarray:
    """Return the bin of each forecast; equal ones share it, so masses are only about equal."""
    if equal_mass:
        below = outcomes.count.cumsum() - outcomes.count / 2
        shares = below / outcomes.count.sum()
        return np.minimum((shares * bins).astype(np.int64), bins - 1)
    return np.maximum(np.ceil(outcomes.probability * bins).astype(np.int64) - 1, 0)


def _logit(probability: np.ndarray) -> np.ndarray:
    from scipy.special import logit

    return logit(np.clip(np.asarray(probability, np.float64), SATURATION, 1 - SATURATION))


def _require_forecasts(outcomes: Outcomes) -> None:
    if not len(outcomes.count):
        raise InputError(
            "a measure of no forecasts; expected at least one. Check the ignore mask and the "
            "tiles passed in."
        )

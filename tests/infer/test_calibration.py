"""Calibration measured by hand, and temperatures found again."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from salt.errors import InputError, StoreError
from salt.infer.calibration import (
    TEMPERATURES,
    Outcomes,
    brier_score,
    calibrate,
    calibration_error,
    count_outcomes,
    fit_temperature,
    forecast_outcomes,
    log_loss,
    pooled,
    reliability_table,
    temperature_scaled,
)
from salt.seeding import generator

# 0.25 came true once in four times, 0.75 twice in four, 1 always
PROBABILITY = np.repeat([0.25, 0.75, 1.0], [4, 4, 2])
HAPPENED = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1])
SMALL = forecast_outcomes(PROBABILITY, HAPPENED)


def draw_outcomes(sharpness: float, count: int = 200_000, seed: int = 1) -> Outcomes:
    """Events of known odds, forecast with logits `sharpness` times too large."""
    draw = generator(seed, "outcomes")
    odds = draw.normal(scale=1.5, size=count)
    happened = draw.random(count) < expit(odds)
    return forecast_outcomes(expit(sharpness * odds), happened)


def test_pixels_are_counted_by_probability_and_truth_without_the_ignored():
    probability = np.array([[[0.5, 0.5, 0.25], [0.5, 1.0, 0.0]]], np.float16)
    truths = np.array([[[1, 0, 0], [1, 1, 1]]], np.uint8)
    ignore = np.array([[[0, 0, 0], [0, 0, 1]]], np.uint8)
    found = count_outcomes(probability, truths, ignore)
    assert found.probability.tolist() == [0.25, 0.5, 1.0]
    assert found.count.tolist() == [1, 3, 1]
    assert found.positive.tolist() == [0, 2, 1]


def test_more_tiles_than_are_counted_at_once_are_all_counted():
    draw = generator(1, "tiles")
    probability = draw.random((150, 5, 4)).astype(np.float16)
    truths = draw.integers(2, size=probability.shape)
    found = count_outcomes(probability, truths)
    expected = forecast_outcomes(probability.ravel(), truths.ravel())
    for name in ("probability", "count", "positive"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_maps_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match=r"\(1, 2, 2\), \(1, 2, 3\)"):
        count_outcomes(np.zeros((1, 2, 2), np.float16), np.zeros((1, 2, 3)))
    with pytest.raises(StoreError, match="float32; expected float16"):
        count_outcomes(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2)))
    with pytest.raises(InputError, match="expected one forecast per event"):
        forecast_outcomes(np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="expected 0 to 1"):
        forecast_outcomes(np.array([-3.0, 2.0]), np.zeros(2))


def test_tiles_without_a_forecast_are_left_out():
    found = forecast_outcomes(np.array([np.nan, 0.5, np.nan]), np.array([1, 0, 1]))
    assert (found.probability.tolist(), found.positive.tolist()) == ([0.5], [0])


def test_joined_outcomes_are_those_of_all_tiles_together():
    halves = [
        forecast_outcomes(PROBABILITY[part], HAPPENED[part]) for part in np.r_[0:10].reshape(2, 5)
    ]
    both = pooled(halves)
    assert both.count.tolist() == SMALL.count.tolist()
    assert both.positive.tolist() == SMALL.positive.tolist()
    with pytest.raises(InputError, match="no outcomes to join"):
        pooled([])


def test_a_reliability_table_has_a_row_for_each_bin_with_forecasts():
    table = reliability_table(SMALL, bins=4)
    assert table.to_dict("list") == {
        "bin": [0, 2, 3],  # (0, 0.25], (0.5, 0.75], (0.75, 1]
        "count": [4, 4, 2],
        "probability": [0.25, 0.75, 1.0],
        "frequency": [0.25, 0.5, 1.0],
    }


def test_a_forecast_of_zero_falls_into_the_first_bin():
    table = reliability_table(forecast_outcomes(np.array([0.0, 1.0]), np.array([0, 1])), bins=5)
    assert table["bin"].tolist() == [0, 4]


def test_bins_of_equal_mass_hold_equally_many_where_forecasts_differ():
    forecasts = np.linspace(0, 1, 100) ** 4  # most of them near 0
    table = reliability_table(forecast_outcomes(forecasts, forecasts > 0.5), 5, equal_mass=True)
    assert table["count"].tolist() == [20] * 5
    assert table["probability"].is_monotonic_increasing


def test_equal_forecasts_share_a_bin_of_equal_mass():
    forecasts = np.repeat([0.0, 0.5, 1.0], [90, 5, 5])
    table = reliability_table(forecast_outcomes(forecasts, forecasts > 0), 10, equal_mass=True)
    assert table["count"].tolist() == [90, 10]
    assert table["probability"].tolist() == [0.0, 0.75]


def test_the_calibration_error_is_the_weighted_gap_between_forecast_and_frequency():
    assert calibration_error(SMALL, bins=4) == pytest.approx(0.4 * 0.25)
    assert calibration_error(SMALL, bins=1) == pytest.approx(abs(0.6 - 0.5))


def test_the_brier_score_is_the_mean_squared_error_and_its_parts_are_murphys():
    brier = brier_score(SMALL, bins=4)  # every forecast alone in its bin
    assert brier.score == pytest.approx(np.mean((PROBABILITY - HAPPENED) ** 2))
    assert brier.reliability == pytest.approx(0.4 * 0.25**2)
    assert brier.resolution == pytest.approx(0.4 * 0.25**2 + 0.2 * 0.5**2)
    assert brier.uncertainty == pytest.approx(0.25)


@pytest.mark.parametrize("bins", [1, 3, 15])
def test_the_parts_of_the_brier_score_add_up_with_stephensons_terms_within_bins(bins):
    draw = generator(2, "brier")
    forecasts = draw.random(500)
    happened = (draw.random(500) < forecasts**2).astype(float)
    brier = brier_score(forecast_outcomes(forecasts, happened), bins)
    number = np.maximum(np.ceil(forecasts * bins).astype(int) - 1, 0)
    resolution = 0.0
    for own in (number == b for b in range(bins)):
        p, o = forecasts[own], happened[own]
        within = ((p - p.mean()) ** 2).sum() - 2 * ((p - p.mean()) * (o - o.mean())).sum()
        resolution += own.sum() * (o.mean() - happened.mean()) ** 2 - within
    assert brier.resolution == pytest.approx(resolution / 500)
    assert brier.score == pytest.approx(brier.reliability - brier.resolution + brier.uncertainty)


def test_the_temperature_is_the_one_that_minimises_the_loss_over_all_pixels():
    draw = generator(3, "maps")
    odds = draw.normal(size=(20, 16, 16))
    truths = draw.random(odds.shape) < expit(odds)
    probability = expit(2.5 * odds).astype(np.float16)
    z = logit(np.clip(probability.astype(np.float64), 2.0**-12, 1 - 2.0**-12))

    def loss(temperature: float) -> float:
        return np.logaddexp(0, np.where(truths, -z, z) / temperature).mean()

    plain = minimize_scalar(loss, bounds=(0.5, 10), method="bounded", options={"xatol": 1e-9})
    outcomes = count_outcomes(probability, truths)
    temperature = fit_temperature(outcomes)
    assert temperature == pytest.approx(plain.x, abs=1e-6)
    assert log_loss(outcomes.at_temperature(temperature)) == pytest.approx(plain.fun, abs=1e-6)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again_and_mends_the_calibration(sharpness):
    outcomes = draw_outcomes(sharpness)
    temperature = fit_temperature(outcomes)
    assert temperature == pytest.approx(sharpness, rel=0.03)
    assert calibration_error(outcomes.at_temperature(temperature)) < 0.005


def test_scaling_keeps_the_order_and_treats_salt_and_background_alike():
    forecasts = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    scaled = temperature_scaled(forecasts, 2.0)
    assert (np.diff(scaled) > 0).all()
    assert scaled[2] == 0.5
    assert scaled + scaled[::-1] == pytest.approx(np.ones(5))
    assert scaled[3] == pytest.approx(0.75)  # odds of 9 to 1 become 3 to 1
    assert temperature_scaled(forecasts[1:4], 1.0) == pytest.approx(forecasts[1:4])


@pytest.mark.parametrize("happened", [0, 1])
@pytest.mark.parametrize(("forecast", "end"), [(0.2, 0), (0.8, 1)])
def test_without_both_outcomes_the_temperature_stays_within_its_bounds(happened, forecast, end):
    outcomes = forecast_outcomes(np.full(9, forecast), np.full(9, happened))
    assert fit_temperature(outcomes) == TEMPERATURES[int(happened != end)]


def test_forecasts_of_one_half_have_the_temperature_one():
    assert fit_temperature(forecast_outcomes(np.full(4, 0.5), np.array([0, 0, 0, 1]))) == 1.0


def test_a_measure_of_no_forecasts_is_refused():
    none = count_outcomes(np.zeros((1, 2, 2), np.float16), np.zeros((1, 2, 2)), np.ones((1, 2, 2)))
    for measure in (calibration_error, brier_score, log_loss, fit_temperature):
        with pytest.raises(InputError, match="no forecasts"):
            measure(none)


def test_no_fold_is_calibrated_by_its_own_outcomes():
    sharp, soft, fair = (draw_outcomes(x, 20_000) for x in (3.0, 0.5, 1.0))
    first = calibrate({0: sharp, 1: soft, 2: fair})
    second = calibrate({0: soft, 1: soft, 2: fair})
    assert first.fold_temperatures[0] == second.fold_temperatures[0]
    assert first.fold_temperatures[1] != second.fold_temperatures[1]
    assert first.temperature == fit_temperature(pooled([sharp, soft, fair]))
    expected = pooled(
        part.at_temperature(first.fold_temperatures[fold])
        for fold, part in enumerate((sharp, soft, fair))
    )
    assert first.after.probability.tolist() == expected.probability.tolist()


def test_one_fold_with_forecasts_is_refused():
    none = forecast_outcomes(np.array([np.nan]), np.array([0]))
    with pytest.raises(InputError, match=r"folds \[0\]; expected at least two"):
        calibrate({0: SMALL, 1: none})

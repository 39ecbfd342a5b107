"""How sure the run is, and how right it is to be: calibration, risk and the review list.

Nothing is judged on the tiles it was fitted on: temperatures and expected losses of labelled
tiles come from the other folds. Test tiles get those of all folds; their maps are means over
the folds' networks and so a little less sure than the labelled tiles' single ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salt.infer.calibration import (
    BINS,
    Calibration,
    Outcomes,
    brier_score,
    calibrate,
    calibration_error,
    count_outcomes,
    forecast_outcomes,
    pooled,
    reliability_table,
)
from salt.infer.review import cross_fitted_loss, fit_expected_loss, level_set_loss, review_list
from salt.infer.risk import area_gain, compare_orders, risk_coverage
from salt.maps import MAXIMA
from salt.report.run import Labelled, Run, Unlabelled, portions
from salt.report.tile_maps import TileMaps
from salt.seeding import generator

ORDERS = {
    "expected_loss": "Expected loss, learnt",
    "level_set_loss": "Expected loss, from the map alone",
    "max_probability": "1 \N{MINUS SIGN} max probability",
    "entropy": "Mean entropy",
    "mutual_information": "Mean mutual information",
    "variance": "Mean variance",
    "presence_doubt": "Doubt about presence",
    "presence_std": "Spread of presence",
}
REFERENCE = "max_probability"
CHARTED = {
    name: ORDERS[name]
    for name in ("expected_loss", REFERENCE, "mutual_information", "level_set_loss")
}
DECIMALS = 6
_COVERAGES = 50  # points of a plotted curve


@dataclass(frozen=True)
class Certainty:
    """What is known of the run's certainty.

    Attributes:
        pixels: calibration of the adopted probability maps.
        presence: calibration of the tiles' presence; None without a presence head.
        loss: float64 [m], 1 - score of the labelled tiles.
        labelled, unlabelled: one row per tile in store order: the uncertainties of `ORDERS`
            that every tile has.
    """

    pixels: Calibration
    presence: Calibration | None
    loss: np.ndarray
    labelled: pd.DataFrame
    unlabelled: pd.DataFrame


def measure_certainty(run: Run) -> Certainty:
    """Calibrate the run's probabilities and measure the uncertainties of all its tiles."""
    pixels = calibrate({fold: _pixel_outcomes(run, tiles) for fold, tiles in _fold_tiles(run)})
    presences = {fold: _presence_outcomes(run, tiles) for fold, tiles in _fold_tiles(run)}
    known = all(len(outcomes.count) for outcomes in presences.values())
    labelled, unlabelled = _measure_uncertainties(run, pixels)
    loss = 1 - run.labelled.scores
    return Certainty(
        pixels=pixels,
        presence=calibrate(presences) if known else None,
        loss=loss,
        labelled=labelled.assign(
            expected_loss=cross_fitted_loss(labelled, loss, run.labelled.fold)
        ),
        unlabelled=unlabelled.assign(
            expected_loss=fit_expected_loss(labelled, loss).predict(unlabelled)
        ),
    )


def summarise_certainty(
    certainty: Certainty, test_scores: np.ndarray | None, samples: int, seed: int
) -> dict[str, Any]:
    """Return the blocks `calibration` and `risk` of metrics.json.

    `test_scores` [t] are the test tiles' scores where their truth is known. `samples`
    resamples stand behind the interval; `seed` is the root seed.
    """
    named = {"pixels": certainty.pixels, "presence": certainty.presence}
    calibrations = {name: found for name, found in named.items() if found is not None}
    gain = area_gain(
        certainty.loss,
        certainty.labelled["expected_loss"].to_numpy(),
        certainty.labelled[REFERENCE].to_numpy(),
        samples,
        generator(seed, "report", "area under risk"),
    )
    risk: dict[str, Any] = {
        "area": _areas(certainty.loss, certainty.labelled),
        "gain_over_max_probability": gain.mean,
        "gain_interval": [gain.low, gain.high],
    }
    if test_scores is not None:
        risk["held_out_area"] = _areas(1 - test_scores, certainty.unlabelled)
    return {"calibration": _calibration_block(calibrations), "risk": risk}


def reliability_points(calibration: Calibration) -> pd.DataFrame:
    """Return the reliability diagram as one row per bin, as `dvc plots` reads it.

    Columns: bin (its middle), and count, probability and frequency, each with _before and
    _after; NaN in a bin without forecasts.
    """
    points = pd.DataFrame({"bin": (np.arange(BINS) + 0.5) / BINS})
    for state in ("before", "after"):
        found = reliability_table(getattr(calibration, state)).set_index("bin")
        points = points.join(found.add_suffix(f"_{state}"))
    return points.round(DECIMALS)


def risk_curves(certainty: Certainty) -> pd.DataFrame:
    """Return risk by coverage: the columns coverage, random, oracle and each order's."""
    loss = certainty.loss
    shown = np.unique(np.ceil(np.arange(1, _COVERAGES + 1) / _COVERAGES * len(loss)).astype(int))
    curves = {"coverage": shown / len(loss), "random": np.full(len(shown), loss.mean())}
    curves["oracle"] = risk_coverage(loss, loss)[shown - 1]
    for name in _orders_of(certainty.labelled):
        curves[name] = risk_coverage(loss, certainty.labelled[name].to_numpy())[shown - 1]
    return pd.DataFrame(curves).round(DECIMALS)


def rank_tiles(run: Run, certainty: Certainty) -> pd.DataFrame:
    """Return the review list of all tiles; `loss` is NaN where the truth is not known.

    Columns: rank, id, split, expected_loss, the uncertainties, loss.
    """
    labelled = certainty.labelled.assign(loss=certainty.loss)
    measured = pd.concat([labelled, certainty.unlabelled], ignore_index=True)
    measured = measured[[*_orders_of(measured), "loss"]].round(DECIMALS)
    tiles = pd.concat([run.store.table[["id", "split"]], measured], axis=1)
    return review_list(tiles)


def _measure_uncertainties(run: Run, pixels: Calibration) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the uncertainties that every labelled and test tile has, in store order."""
    labelled = pd.concat(
        _labelled_uncertainties(run, part, pixels.fold_temperatures[fold])
        for fold, tiles in _fold_tiles(run)
        for part in _parts(tiles)
    ).sort_index()
    unlabelled = pd.concat(
        _unlabelled_uncertainties(run, tiles, pixels.temperature)
        for tiles in portions(len(run.store.unlabelled))
    )
    measured = labelled.columns[labelled.notna().all() & unlabelled.notna().all()]
    return labelled[measured], unlabelled[measured]


def _calibration_block(calibrations: dict[str, Calibration]) -> dict[str, Any]:
    block: dict[str, Any] = {
        name: {"before": _quality(found.before), "after": _quality(found.after)}
        for name, found in calibrations.items()
    }
    block["temperature"] = {
        name: {"all_folds": found.temperature, "without_fold": found.fold_temperatures}
        for name, found in calibrations.items()
    }
    return block


def _orders_of(uncertainties: pd.DataFrame) -> list[str]:
    return [name for name in ORDERS if name in uncertainties]


def _fold_tiles(run: Run) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each fold with its labelled tiles."""
    for fold in np.unique(run.labelled.fold):
        yield int(fold), np.flatnonzero(run.labelled.fold == fold)


def _parts(tiles: np.ndarray) -> Iterator[np.ndarray]:
    for places in portions(len(tiles)):
        yield tiles[places]


def _pixel_outcomes(run: Run, tiles: np.ndarray) -> Outcomes:
    store = run.store
    return pooled(
        count_outcomes(run.labelled.ensemble.read(part), store.masks[part], store.ignore[part])
        for part in _parts(tiles)
    )


def _presence_outcomes(run: Run, tiles: np.ndarray) -> Outcomes:
    store = run.store
    has_salt = [
        ((store.masks[part] > 0) & (store.ignore[part] == 0)).any(axis=(1, 2))
        for part in _parts(tiles)
    ]
    return forecast_outcomes(run.labelled.ensemble.presence(tiles), np.concatenate(has_salt))


def _labelled_uncertainties(run: Run, tiles: np.ndarray, temperature: float) -> pd.DataFrame:
    source = run.labelled
    final = _of_final_maps(source, tiles, temperature)
    passes = _of_passes(source.averaged, source.variance, source.information, tiles)
    return pd.DataFrame(final | passes, index=tiles)


def _unlabelled_uncertainties(run: Run, tiles: np.ndarray, temperature: float) -> pd.DataFrame:
    """Measure test tiles; what dropout passes say is the mean over the folds' networks."""
    source = run.unlabelled
    final = _of_final_maps(source, tiles, temperature)
    members = zip(source.averaged, source.variance, source.information, strict=True)
    passes = [pd.DataFrame(_of_passes(*maps, tiles), index=tiles) for maps in members]
    return pd.DataFrame(final, index=tiles).join(sum(passes[1:], passes[0]) / len(passes))


def _of_final_maps(
    source: Labelled | Unlabelled, tiles: np.ndarray, temperature: float
) -> dict[str, np.ndarray]:
    """Return what the adopted maps and the decisions on them say of each tile."""
    probability, presence = source.ensemble.read(tiles), source.ensemble.presence(tiles)
    salt = probability.astype(np.float32)
    return {
        "level_set_loss": level_set_loss(probability, source.decisions(tiles), temperature),
        "max_probability": np.minimum(salt, 1 - salt).mean(axis=(1, 2), dtype=np.float64),
        "entropy": _mean_level(source.uncertainty, tiles, "entropy"),
        "presence_doubt": np.minimum(presence, 1 - presence),
    }


def _of_passes(
    averaged: TileMaps, variance: TileMaps, information: TileMaps, tiles: np.ndarray
) -> dict[str, np.ndarray]:
    """Return how far the dropout passes of one network disagree about each tile."""
    return {
        "mutual_information": _mean_level(information, tiles, "mutual_information"),
        "variance": _mean_level(variance, tiles, "variance"),
        "presence_std": averaged.table["presence_std"].to_numpy(np.float64)[tiles],
    }


def _mean_level(maps: TileMaps, tiles: np.ndarray, name: str) -> np.ndarray:
    """Return each tile's mean of a stored map in its own unit, float64 [k]."""
    return maps.read(tiles).mean(axis=(1, 2)) * (MAXIMA[name] / 255)


def _quality(outcomes: Outcomes) -> dict[str, float]:
    return {
        "calibration_error": calibration_error(outcomes),
        "calibration_error_equal_mass": calibration_error(outcomes, equal_mass=True),
        **{f"brier_{name}": part for name, part in brier_score(outcomes)._asdict().items()},
    }


def _areas(loss: np.ndarray, uncertainties: pd.DataFrame) -> dict[str, float]:
    table = compare_orders(loss, uncertainties[_orders_of(uncertainties)])
    return dict(zip(table["order"], table["area"], strict=True))

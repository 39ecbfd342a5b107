"""What the report says of certainty, checked against the run's own files."""

from pathlib import Path

import numpy as np
import pytest

from salt.files import read_array, read_csv, write_csv
from salt.infer.calibration import calibration_error, count_outcomes, fit_temperature
from salt.report.certainty import (
    ORDERS,
    Certainty,
    measure_certainty,
    rank_tiles,
    reliability_points,
    risk_curves,
    summarise_certainty,
)
from salt.report.run import Run, open_run

FOLDS = [0, 1]


@pytest.fixture
def run(finished_run: Path) -> Run:
    """The fabricated run, opened."""
    return open_run(finished_run, FOLDS)


@pytest.fixture
def certainty(run: Run) -> Certainty:
    """What is measured of it."""
    return measure_certainty(run)


def test_each_fold_has_the_temperature_of_the_other(certainty: Certainty, run: Run) -> None:
    probability, truths = read_array(run.folder / "ensemble/oof_probability.npy"), run.store.masks
    for fold, other in ((0, 1), (1, 0)):
        rest = run.labelled.fold == other
        expected = fit_temperature(count_outcomes(probability[rest], truths[rest]))
        assert certainty.pixels.fold_temperatures[fold] == expected
    before = calibration_error(count_outcomes(probability, truths))
    summary = summarise_certainty(certainty, None, 20, seed=1)
    assert summary["calibration"]["pixels"]["before"]["calibration_error"] == before


def test_uncertainties_are_means_over_the_tile_in_their_own_units(
    certainty: Certainty, run: Run
) -> None:
    folder = run.folder / "uncertainty"
    row = read_csv(folder / "1/oof_tiles.csv")["id"].tolist().index("a003")
    stored = read_array(folder / "1/oof_variance.npy")[row]
    assert certainty.labelled.loc[3, "variance"] == pytest.approx(stored.mean() * 0.25 / 255)
    levels = np.stack([read_array(folder / f"{f}/test_mutual_information.npy")[5] for f in FOLDS])
    found = certainty.unlabelled.loc[5, "mutual_information"]
    assert found == pytest.approx(levels.mean() * np.log(2) / 255)
    p = read_array(run.folder / "ensemble/oof_probability.npy")[3].astype(np.float64)
    doubt = np.minimum(p, 1 - p).mean()
    assert certainty.labelled.loc[3, "max_probability"] == pytest.approx(doubt, abs=1e-4)
    assert certainty.labelled["presence_std"].tolist() == [0.1] * 12


def test_without_a_presence_head_only_the_maps_speak(finished_run: Path) -> None:
    for path in finished_run.rglob("*_tiles.csv"):
        table = read_csv(path)
        table[[name for name in table if name.startswith("presence")]] = np.nan
        write_csv(path, table)
    blind = measure_certainty(open_run(finished_run, FOLDS))
    assert blind.presence is None
    assert set(ORDERS) - set(blind.labelled) == {"presence_doubt", "presence_std"}
    summary = summarise_certainty(blind, None, 20, seed=1)
    assert "presence" not in summary["calibration"]
    assert "held_out_area" not in summary["risk"]


def test_curves_end_at_the_mean_loss_and_the_oracle_lies_below_all(certainty: Certainty) -> None:
    curves = risk_curves(certainty)
    assert curves["coverage"].iloc[-1] == 1
    orders = curves.drop(columns="coverage")
    assert orders.iloc[-1].tolist() == pytest.approx(
        [certainty.loss.mean()] * orders.shape[1], abs=1e-6
    )
    assert (orders.ge(curves["oracle"], axis=0)).all(axis=None)


def test_areas_of_test_tiles_follow_where_their_scores_are_known(certainty: Certainty) -> None:
    scores = np.linspace(0, 1, 6)
    risk = summarise_certainty(certainty, scores, 20, seed=1)["risk"]
    assert risk["held_out_area"]["random"] == pytest.approx(0.5)
    assert risk["area"].keys() == risk["held_out_area"].keys()
    low, high = risk["gain_interval"]
    assert low <= risk["gain_over_max_probability"] <= high


def test_the_review_list_ranks_every_tile_and_knows_losses_of_labelled_ones_alone(
    certainty: Certainty, run: Run
) -> None:
    ranked = rank_tiles(run, certainty)
    assert list(ranked) == ["rank", "id", "split", *ORDERS, "loss"]
    assert ranked["rank"].tolist() == list(range(1, 19))
    assert ranked["expected_loss"].is_monotonic_decreasing
    assert sorted(ranked["id"]) == sorted(run.store.table["id"])
    known = ranked.set_index("id")["loss"].reindex(run.store.labelled["id"])
    assert known.to_numpy() == pytest.approx(1 - run.labelled.scores)
    assert ranked.loc[ranked["split"] == "test", "loss"].isna().all()


def test_the_diagram_has_all_bins_and_counts_every_pixel(certainty: Certainty) -> None:
    points = reliability_points(certainty.pixels)
    assert points["bin"].tolist() == pytest.approx((np.arange(15) + 0.5) / 15, abs=1e-6)
    for state in ("before", "after"):
        assert points[f"count_{state}"].sum() == 12 * 101 * 101
        assert points[f"frequency_{state}"].dropna().between(0, 1).all()

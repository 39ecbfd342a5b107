"""The numbers of the report, checked against scores computed tile by tile."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salt.files import read_csv, write_csv, write_json
from salt.metrics import tile_dice, tile_iou, tile_scores
from salt.report.run import Run, open_run
from salt.report.scores import (
    STEPS,
    mean_entropy,
    measure_labelled,
    measure_unlabelled,
    rounded,
    summarise,
    threshold_scores,
)

FOLDS = [0, 1]


@pytest.fixture
def run(finished_run: Path) -> Run:
    """The fabricated run, opened."""
    return open_run(finished_run, FOLDS)


def summary_of(run: Run, seed: int = 1) -> dict:
    """The metrics of a run."""
    measured = measure_labelled(run), measure_unlabelled(run)
    return summarise(run, *measured, source="demo", samples=200, seed=seed)


def test_steps_are_scored_at_one_half_on_the_same_tiles(run: Run) -> None:
    measured = measure_labelled(run)
    for step in ("single", "student", "views", "averaged", "refined", "ensemble"):
        maps = getattr(run.labelled, step).read(np.arange(12))
        expected = tile_scores(maps >= 0.5, run.store.masks)
        assert measured[step].tolist() == expected.tolist()
    assert measured["decided"].tolist() == run.labelled.scores.tolist()


def test_the_last_step_is_the_headline(run: Run) -> None:
    metrics = summary_of(run)
    last = metrics["steps"][-1]
    assert [step["step"] for step in metrics["steps"]] == list(STEPS)
    assert metrics["out_of_fold"]["score"] == last["score"]
    assert metrics["out_of_fold"]["interval"] == last["interval"]
    assert last["interval"][0] <= last["score"] <= last["interval"][1]


def test_gains_add_up_from_the_first_step_to_the_last(run: Run) -> None:
    steps = summary_of(run)["steps"]
    assert "gain" not in steps[0]
    total = steps[0]["score"] + sum(step["gain"] for step in steps[1:])
    assert total == pytest.approx(steps[-1]["score"], abs=1e-5)


def test_the_gain_of_all_steps_is_paired_from_first_to_last(run: Run) -> None:
    metrics, measured = summary_of(run), measure_labelled(run)
    found = metrics["gain_of_all_steps"]
    gains = measured["decided"] - measured["single"]
    assert found["gain"] == pytest.approx(gains.mean(), abs=1e-6)
    low, high = found["gain_interval"]
    assert gains.min() <= low <= found["gain"] <= high <= gains.max()


def test_an_all_empty_baseline_scores_the_share_of_empty_tiles(run: Run) -> None:
    metrics = summary_of(run)
    assert metrics["baselines"]["all_empty"] == 0.25  # every fourth tile is made empty
    assert metrics["tiles"] == {"labelled": 12, "labelled_empty": 3, "test": 6, "constant": 0}


def test_overlaps_leave_out_tiles_without_salt(run: Run) -> None:
    tiles = np.flatnonzero(run.store.masks.any(axis=(1, 2)))
    decided, truths = run.labelled.decisions(tiles), run.store.masks[tiles]
    scored = summary_of(run)["out_of_fold"]
    assert scored["salt_iou"] == pytest.approx(tile_iou(decided, truths).mean(), abs=1e-6)
    assert scored["salt_dice"] == pytest.approx(tile_dice(decided, truths).mean(), abs=1e-6)


def test_held_out_scores_exist_only_where_truth_does(
    run: Run, fabricate: Callable, tmp_path: Path
) -> None:
    held_out = summary_of(run)["held_out"]
    truths = run.unlabelled.truth(np.arange(6))
    assert truths is not None
    expected = tile_scores(run.unlabelled.decisions(np.arange(6)), truths).mean()
    assert held_out["score"] == pytest.approx(expected, abs=1e-6)
    assert set(held_out["baselines"]) == {"all_empty", "otsu"}
    blind = open_run(fabricate(tmp_path / "blind", with_truth=False), FOLDS)
    assert "held_out" not in summary_of(blind)


def test_the_threshold_curve_meets_the_score_at_the_chosen_threshold(run: Run) -> None:
    curve = threshold_scores(run).set_index("threshold")["score"]
    assert curve.index.tolist() == [step / 20 for step in range(1, 20)]
    # every fold of the fabricated run has the final rule, whose threshold is 0.4
    assert curve[0.4] == pytest.approx(run.labelled.scores.mean(), abs=1e-6)


def test_a_perfect_run_scores_one(fabricate: Callable, tmp_path: Path) -> None:
    data = fabricate(tmp_path / "data")
    scores = read_csv(data / "threshold/scores.csv")
    write_csv(data / "threshold/scores.csv", scores.assign(score=1.0))
    assert summary_of(open_run(data, FOLDS))["out_of_fold"] | {"salt_iou": 0, "salt_dice": 0} == {
        "score": 1.0,
        "interval": [1.0, 1.0],
        "per_fold": {"0": 1.0, "1": 1.0},
        "salt_iou": 0,
        "salt_dice": 0,
    }


def test_intervals_depend_on_the_seed_alone(run: Run) -> None:
    assert summary_of(run, seed=1) == summary_of(run, seed=1)
    assert summary_of(run, seed=1) != summary_of(run, seed=2)


def test_entropy_of_full_maps_is_ln_2() -> None:
    stored = np.stack([np.full((101, 101), 255, np.uint8), np.zeros((101, 101), np.uint8)])
    assert mean_entropy(stored) == pytest.approx([np.log(2), 0])


def test_rounded_content_is_plain_json() -> None:
    content = {1: np.float64(0.12345678), "a": [np.int64(3), float("nan")], "b": (True, "x")}
    assert rounded(content) == {"1": 0.123457, "a": [3, None], "b": [True, "x"]}


def test_a_step_the_run_did_not_take_is_left_out(finished_run: Path) -> None:
    for fold in FOLDS:
        write_json(finished_run / f"pseudo/{fold}/summary.json", {"chosen": 0})
    steps = [step["step"] for step in summary_of(open_run(finished_run, FOLDS))["steps"]]
    assert steps == [step for step in STEPS if step != "second round at 0.5"]


@pytest.mark.parametrize(
    ("sampled", "left_out"),
    [
        ({"passes": 4, "tta": "none"}, {"TTA mean at 0.5", "snapshot mean at 0.5"}),
        ({"passes": 4, "tta": "none", "snapshots": 1}, {"TTA mean at 0.5", "snapshot mean at 0.5"}),
        ({"passes": 4, "tta": "none", "snapshots": 2}, {"TTA mean at 0.5"}),
        (
            {"passes": 1, "tta": "flip_shift"},
            {"MC dropout mean at 0.5", "snapshot mean at 0.5"},
        ),
        (
            {"passes": 1, "tta": "none", "snapshots": 3},
            {"TTA mean at 0.5", "MC dropout mean at 0.5"},
        ),
    ],
)
def test_views_and_dropout_are_steps_of_their_own(
    finished_run: Path, sampled: dict, left_out: set[str]
) -> None:
    for fold in FOLDS:
        (finished_run / f"uncertainty/{fold}/oof_views.npy").unlink()  # both needed it
        write_json(finished_run / f"uncertainty/{fold}/summary.json", sampled)
    run = open_run(finished_run, FOLDS)
    assert set(STEPS) - {step["step"] for step in summary_of(run)["steps"]} == left_out
    if sampled["tta"] != "none":  # the mean of one pass per view
        measured = measure_labelled(run)
        maps = run.labelled.averaged.read(np.arange(12))
        assert measured["views"].tolist() == tile_scores(maps >= 0.5, run.store.masks).tolist()

"""A run is opened whole or refused with the file that is missing or wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salt.errors import StoreError
from salt.files import read_csv, read_json, write_csv, write_json
from salt.metrics import tile_scores
from salt.report.run import open_run

FOLDS = [0, 1]


def test_decisions_on_labelled_tiles_give_the_scores_of_the_threshold_stage(
    finished_run: Path,
) -> None:
    run = open_run(finished_run, FOLDS)
    tiles = np.arange(len(run.store.masks))
    scores = tile_scores(run.labelled.decisions(tiles), run.store.masks, run.store.ignore)
    assert scores.tolist() == run.labelled.scores.tolist()


def test_each_fold_is_decided_with_its_own_rule(finished_run: Path) -> None:
    summary = read_json(finished_run / "threshold/summary.json")
    summary["folds"][1]["rule"]["minimum_size"] = 101 * 101 + 1  # nothing is large enough
    write_json(finished_run / "threshold/summary.json", summary)
    labelled = open_run(finished_run, FOLDS).labelled
    areas = labelled.decisions(np.arange(12)).sum(axis=(1, 2))
    assert areas[labelled.fold == 0].sum() > 0
    assert areas[labelled.fold == 1].sum() == 0


def test_truth_of_test_tiles_is_matched_by_id(finished_run: Path) -> None:
    run = open_run(finished_run, FOLDS)
    tiles = np.arange(6)
    truths = run.unlabelled.truth(tiles)
    assert truths is not None  # stored in reverse, as is the submission
    assert tile_scores(run.unlabelled.decisions(tiles), truths).mean() > 0.5


def test_without_truth_the_test_tiles_have_none(fabricate: Callable, tmp_path: Path) -> None:
    run = open_run(fabricate(tmp_path / "data", with_truth=False), FOLDS)
    assert run.unlabelled.truth(np.arange(2)) is None


@pytest.mark.parametrize("stage", ["train", "uncertainty", "refine"])
def test_a_missing_fold_names_its_file(finished_run: Path, stage: str) -> None:
    shutil.rmtree(finished_run / stage / "1")
    with pytest.raises(StoreError, match=f"{stage}/1/.*no such file.*dvc repro"):
        open_run(finished_run, FOLDS)


def test_a_fold_the_parameters_do_not_name_is_refused(finished_run: Path) -> None:
    with pytest.raises(StoreError, match="scores of folds \\[0, 1\\]; expected folds \\[0\\]"):
        open_run(finished_run, [0])


def test_scores_of_unknown_tiles_are_refused(finished_run: Path) -> None:
    path = finished_run / "threshold/scores.csv"
    table = read_csv(path)
    table.loc[0, "id"] = "stranger"
    write_csv(path, table)
    with pytest.raises(StoreError, match=r"scores\.csv: 12 tiles without 'a000'"):
        open_run(finished_run, FOLDS)

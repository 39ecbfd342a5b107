"""Comparison of two runs: scores within a tolerance, integer work exactly."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from salt.report.compare import differences

PROJECT = Path(__file__).resolve().parents[2]
METRICS = {
    "source": "demo",
    "tiles": {"labelled": 162, "test": 54},
    "out_of_fold": {"score": 0.80, "interval": [0.75, 0.85]},
    "steps": [{"step": "single pass", "score": 0.7}],
    "baselines": {"otsu": 0.1},
    "threshold": {"threshold": 0.5, "minimum_size": 20},
    "submission": {"empty": 20},
    "calibration": {"temperature": {"pixels": 1.5}, "pixels": {"brier_score": 0.1}},
}


@pytest.fixture
def changed():
    return copy.deepcopy(METRICS)


def test_equal_runs_agree(changed):
    assert differences(changed, METRICS, 0.0) == []


def test_scores_may_differ_by_the_tolerance_and_not_more(changed):
    changed["out_of_fold"]["score"] = 0.82
    assert differences(changed, METRICS, 0.03) == []
    expected = "out_of_fold.score: got 0.82, expected 0.8 within 0.01"
    assert differences(changed, METRICS, 0.01) == [expected]


def test_items_of_a_list_are_named_by_their_place(changed):
    changed["out_of_fold"]["interval"][1] = 0.95
    (line,) = differences(changed, METRICS, 0.03)
    assert line.startswith("out_of_fold.interval.1: got 0.95")


@pytest.mark.parametrize(
    ("section", "key", "value"), [("tiles", "labelled", 163), ("baselines", "otsu", 0.101)]
)
def test_integer_work_is_compared_exactly(changed, section, key, value):
    changed[section][key] = value
    assert len(differences(changed, METRICS, 0.5)) == 1


def test_the_decision_rule_is_not_compared(changed):
    changed["threshold"]["minimum_size"] = 80
    changed["submission"]["empty"] = 0
    assert differences(changed, METRICS, 0.0) == []


def test_a_temperature_is_not_compared_but_what_it_does_is(changed):
    changed["calibration"]["temperature"]["pixels"] = 9.0
    assert differences(changed, METRICS, 0.0) == []
    changed["calibration"]["pixels"]["brier_score"] = 0.2
    assert len(differences(changed, METRICS, 0.03)) == 1


def test_a_missing_and_an_additional_number_are_reported(changed):
    del changed["baselines"]
    changed["held_out"] = {"score": 0.7}
    assert differences(changed, METRICS, 0.03) == [
        "baselines.otsu: missing, expected 0.1",
        "held_out.score: got 0.7, expected no such number",
    ]


def test_a_number_in_place_of_none_is_a_difference(changed):
    changed["steps"][0]["score"] = None
    assert len(differences(changed, METRICS, 1.0)) == 1


def test_the_command_fails_with_one_line_per_difference(changed, tmp_path):
    changed["out_of_fold"]["score"] = 0.5
    for name, content in (("found", changed), ("expected", METRICS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    command = [sys.executable, "-m", "salt.report.compare"]
    files = [str(tmp_path / "found.json"), str(tmp_path / "expected.json")]
    done = subprocess.run([*command, *files], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "out_of_fold.score: got 0.5, expected 0.8 within 0.03\n"
    assert "1 numbers differ" in done.stderr
    done = subprocess.run([*command, files[1], files[1]], cwd=PROJECT, capture_output=True)
    assert done.returncode == 0

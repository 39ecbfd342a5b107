"""Exact resume of whole stages after SIGKILL, averages and validation included."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_project import PROJECT, files_of, give_depths, run_stage, write_params

SHIFT = {"share": 1.0, "change": "linear", "weights": {"dice_weight": 0.2, "iou_weight": 1.0}}


@pytest.fixture(scope="module")
def runs(finished_project: Path, tmp_path_factory: pytest.TempPathFactory):
    """Two equal projects, one of whose stages were killed again and again; and what was said."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("killed", "whole"):
        shutil.copytree(finished_project, folder / name)
        give_depths(folder / name)
        write_params(
            folder / name,
            model={"depth_input": "inside"},
            loss={"schedule": [SHIFT]},
            augment={"cutout": 0.5, "mixup": 0.4, "cutmix": 0.4},
            train={
                "epochs": 3,
                "ema_decay": 0.9,
                "accumulate": 2,
                "schedule": "warm_restarts",
                "cycles": 2,
                "swa_start": 0.3,
            },
            refine={"epochs": 2},
        )
        for stage in ("pretrain", "train", "refine"):
            shutil.rmtree(folder / name / "data" / stage)
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tests/fit/killed_runs.py"), str(folder)],
        env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_attempts_were_killed_and_the_last_ones_succeeded(runs) -> None:
    said = runs[1].stdout
    for stage, codes in {"pretrain": "-9 -9 0", "train": "-9 -9 0", "refine": "-9 0"}.items():
        assert re.findall(rf"^{stage} (-?\d+)$", said, re.MULTILINE) == codes.split()


def test_they_continued_behind_the_last_finished_epoch(runs) -> None:
    said = runs[1].stderr
    assert said.count("pretrain: continuing behind epoch 1/2") == 1
    assert said.count("train@0: continuing behind epoch 1/3") == 2
    assert said.count("refine@0: continuing behind epoch 1/2") == 1


@pytest.mark.parametrize("stage", ["pretrain", "train/0", "refine/0"])
def test_what_they_wrote_is_what_an_undisturbed_run_writes_to_the_bit(runs, stage: str) -> None:
    killed, whole = (files_of(runs[0] / name / "data" / stage) for name in ("killed", "whole"))
    assert "weights.safetensors" in whole
    assert killed.keys() == whole.keys()
    assert [name for name in whole if killed[name] != whole[name]] == []


def test_nothing_is_left_to_resume(runs) -> None:
    for name in ("killed", "whole"):
        assert list((runs[0] / name).glob(".salt/resume/*")) == []


@pytest.mark.parametrize(
    "changed",
    [
        *("pretrain/weights.safetensors", "index/folds.csv"),
        *("synthesize/ignore.npy", "synthesize/tiles.csv"),
    ],
)
def test_a_run_on_other_inputs_is_not_continued(
    finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    shutil.copytree(finished_project, tmp_path, dirs_exist_ok=True)
    folders = []
    monkeypatch.setattr("stages.train.fit_fold", lambda *_, resume, **__: folders.append(resume))
    run_stage(tmp_path, "train", 0)
    path = tmp_path / "data" / changed
    path.write_bytes(path.read_bytes() + b"\n")
    run_stage(tmp_path, "train", 0)
    assert folders[0] != folders[1]

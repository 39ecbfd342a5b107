"""A stage that trains with several processes, started as `dvc repro` starts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_project import PROJECT, write_params

from salt.files import read_array, read_csv

WRITTEN = {
    "pretrain": {"config.json", "history.csv", "weights.safetensors"},
    "train": {
        "config.json",
        "history.csv",
        "weights.safetensors",
        "oof_probability.npy",
        "oof_tiles.csv",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "fold"), [("pretrain", ()), ("train", ("0",))])
def test_a_stage_with_two_processes_writes_once_and_speaks_with_one_voice(
    finished_project: Path, tmp_path: Path, stage: str, fold: tuple[str, ...]
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    write_params(folder, train={"devices": 2})
    shutil.rmtree(folder / "data" / stage)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *(("--fold", *fold) if fold else ())],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    out = folder / "data" / stage / (fold[0] if fold else "")
    assert {path.name for path in out.iterdir()} == WRITTEN[stage]
    assert len(read_csv(out / "history.csv", ())) == 2
    assert done.stderr.count("epoch 2/2: loss") == 1
    assert not list((folder / ".salt/resume").glob("*"))
    if stage == "train":
        expected = read_csv(finished_project / "data/train/0/oof_tiles.csv")["id"]
        assert list(read_csv(out / "oof_tiles.csv")["id"]) == list(expected)
        assert np.isfinite(read_array(out / "oof_probability.npy")).all()

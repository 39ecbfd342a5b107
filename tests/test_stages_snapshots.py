"""Every stage that knows snapshots, on a fold of tiny data trained for two cycles."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_project import files_of, make_project, run_stage, write_params

from salt.files import read_array, read_json, write_array, write_csv, write_json
from salt.fit.student import TRAINED
from salt.models.snapshots import load_snapshots
from salt.store import open_store

CYCLES = {"schedule": "warm_restarts", "cycles": 2, "snapshots": 2, "early_stopping": 0}
WEIGHTS = {"weights.safetensors", "config.json"}


@pytest.fixture(scope="module")
def cyclic(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose fold 0 was trained before, with more snapshots, and then with two."""
    folder = make_project(tmp_path_factory.mktemp("cyclic"))
    write_params(folder, train=CYCLES)
    shutil.copytree(finished_project / "data/pretrain", folder / "data/pretrain")
    for stage in ("train", "student"):
        write_json(folder / f"data/{stage}/0/snapshots/2/config.json", {})
    for stage in ("train", "pseudo", "student", "uncertainty"):
        run_stage(folder, stage, 0)
    return folder


@pytest.mark.parametrize("stage", ["train", "student"])
def test_the_earlier_networks_lie_beside_the_main_one(cyclic: Path, stage: str) -> None:
    folder = cyclic / "data" / stage / "0"
    assert set(files_of(folder)) == {*TRAINED, *(f"snapshots/1/{name}" for name in WEIGHTS)}
    earlier, main = load_snapshots(folder, 2)
    assert (earlier.mask_head.weight != main.mask_head.weight).any()


def test_without_a_second_round_the_snapshots_are_passed_on(cyclic: Path) -> None:
    train, student = (files_of(cyclic / f"data/{name}/0") for name in ("train", "student"))
    assert train == student


def test_uncertainty_asks_all_of_them(cyclic: Path) -> None:
    folder = cyclic / "data/uncertainty/0"
    summary = {"passes": 2, "tta": "flip", "snapshots": 2}
    assert read_json(folder / "summary.json") == summary
    single = read_array(cyclic / "data/train/0/oof_probability.npy")
    assert (read_array(folder / "oof_snapshots.npy") != single).any()


def test_a_second_round_has_snapshots_of_its_own(cyclic: Path, tmp_path: Path) -> None:
    shutil.copytree(cyclic, tmp_path, dirs_exist_ok=True)
    second = {"share": 0.5, "agreement": 0.0, "epochs": 2}
    write_params(tmp_path, train=CYCLES, pseudo=second)
    ids = open_store(tmp_path / "data/ingest").unlabelled["id"].iloc[1:5]
    masks = np.zeros((4, 101, 101), np.uint8)
    masks[::2, 50:] = 1
    write_array(tmp_path / "data/pseudo/0/masks.npy", masks)
    write_csv(tmp_path / "data/pseudo/0/tiles.csv", pd.DataFrame({"id": ids, "agreement": 1.0}))
    run_stage(tmp_path, "student", 0)
    first, own = (files_of(tmp_path / f"data/{name}/0") for name in ("train", "student"))
    assert set(first) == set(own)
    for name in ("weights.safetensors", "snapshots/1/weights.safetensors"):
        assert own[name] not in (first[name], first["weights.safetensors"])

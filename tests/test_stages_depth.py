"""Networks that are told depths go through the stages like others."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from tiny_project import FOLDS, files_of, give_depths, run_stage, write_params

from salt.files import read_array, read_csv, read_json, write_array, write_csv

SHORT = {"epochs": 1, "validation_share": 0.0, "early_stopping": 0}
PSEUDO = {"share": 0.5, "epochs": 1}


def label_two_test_tiles(pseudo: Path) -> None:
    """Write what the stage would if a network of one epoch agreed with itself."""
    masks = np.zeros((2, 101, 101), np.uint8)
    masks[:, 50:] = 1
    write_array(pseudo / "masks.npy", masks)
    write_csv(pseudo / "tiles.csv", pd.DataFrame({"id": ["b00", "b01"], "agreement": 1.0}))


def test_every_stage_runs_on_tiles_with_depths_and_follows_them(project: Path) -> None:
    give_depths(project)
    model = {"architecture": "unet", "encoder": "test_resnet", "depth_input": "channel"}
    write_params(project, model=model, pretrain={"epochs": 1}, train=SHORT, pseudo=PSEUDO)
    run_stage(project, "pretrain")
    for fold in FOLDS:
        run_stage(project, "train", fold)
        run_stage(project, "pseudo", fold)
        label_two_test_tiles(project / "data/pseudo" / str(fold))
    for stage in ("student", "uncertainty", "refine"):
        for fold in FOLDS:
            run_stage(project, stage, fold)
    for stage in ("ensemble", "threshold", "submit"):
        run_stage(project, stage)
    assert read_json(project / "data/student/0/config.json")["depth_input"] == "channel"
    means = project / "data/uncertainty/0/test_mean.npy"
    before = np.array(read_array(means))
    tiles = project / "data/ingest/tiles.csv"
    table = read_csv(tiles)
    table.loc[table.index[-1], "depth"] = 5000.0
    write_csv(tiles, table)
    run_stage(project, "uncertainty", 0)
    assert not np.array_equal(read_array(means)[-1], before[-1])


def test_networks_that_are_not_told_depths_do_not_depend_on_them(
    finished_project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    before = files_of(folder / "data/uncertainty/0")
    give_depths(folder)
    run_stage(folder, "uncertainty", 0)
    assert files_of(folder / "data/uncertainty/0") == before

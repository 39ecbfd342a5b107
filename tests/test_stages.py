"""Every stage on tiny data: what it writes, that it repeats, other settings, the demo survey."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_project import FOLDS, PROJECT, files_of, make_project, run_stage, write_params

from salt.files import read_array, read_csv, read_json
from salt.store import open_store

MODEL = {"config.json", "history.csv", "weights.safetensors"}
MAPS = {"mean.npy", "variance.npy", "entropy.npy", "mutual_information.npy", "tiles.csv"}
WRITTEN = {
    "pretrain": MODEL,
    "train": MODEL | {"oof_probability.npy", "oof_tiles.csv"},
    "pseudo": {"masks.npy", "tiles.csv", "summary.json"},
    "student": MODEL | {"oof_probability.npy", "oof_tiles.csv"},
    "uncertainty": {"oof_views.npy", "summary.json"}
    | {f"{part}_{name}" for part in ("oof", "test") for name in MAPS},
    "refine": MODEL
    | {f"{part}_{name}" for part in ("oof", "test") for name in ("probability.npy", "tiles.csv")},
    "ensemble": {"summary.json", "oof_by_decision.npy"}
    | {
        f"{part}_{name}"
        for part in ("oof", "test")
        for name in ("probability.npy", "uncertainty.npy", "tiles.csv")
    },
    "threshold": {"rule.json", "scores.csv", "summary.json"},
    "submit": {"submission.csv", "summary.json"},
}
PER_FOLD = ("train", "pseudo", "student", "uncertainty", "refine")


def run_learning(folder: Path, folds: list[int] = FOLDS) -> None:
    run_stage(folder, "pretrain")
    for stage in PER_FOLD:
        for fold in folds:
            run_stage(folder, stage, fold)
    for stage in ("ensemble", "threshold", "submit"):
        run_stage(folder, stage)


@pytest.mark.parametrize("stage", WRITTEN)
def test_a_stage_writes_its_files_and_no_others(finished_project: Path, stage: str) -> None:
    folder = finished_project / "data" / stage
    for place in [folder / str(fold) for fold in FOLDS] if stage in PER_FOLD else [folder]:
        assert {path.name for path in place.iterdir()} == WRITTEN[stage]
    if stage in PER_FOLD:
        assert {path.name for path in folder.iterdir()} == set(map(str, FOLDS))


@pytest.mark.parametrize("stage", ["ingest", "index", "synthesize"])
def test_what_a_stage_reads_stays_as_it_was(
    finished_project: Path, project: Path, stage: str
) -> None:
    assert files_of(finished_project / "data" / stage) == files_of(project / "data" / stage)


def test_the_same_project_in_another_folder_gives_the_same_bytes(
    finished_project: Path, project: Path
) -> None:
    run_learning(project)
    first, second = (files_of(folder / "data") for folder in (finished_project, project))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_nothing_lies_outside_data_when_all_is_done(finished_project: Path) -> None:
    left = [name for name in files_of(finished_project) if not name.startswith("data/")]
    assert left == ["params.yaml"]


def test_the_histories_have_a_row_for_every_epoch(finished_project: Path) -> None:
    history = read_csv(finished_project / "data/train/0/history.csv", ())
    assert list(history) == ["epoch", "learning_rate", "train_loss", "validation_score"]
    assert history["epoch"].tolist() == [0, 1]
    assert len(read_csv(finished_project / "data/pretrain/history.csv", ())) == 2
    assert len(read_csv(finished_project / "data/refine/1/history.csv", ())) == 1


def test_worker_processes_do_not_change_what_is_learnt(project: Path, tmp_path: Path) -> None:
    weights = []
    for workers in (0, 2):
        write_params(
            project,
            runtime={"workers": workers},
            pretrain={"epochs": 0},
            train={"epochs": 1, "synthetic_share": 0.0},
        )
        run_stage(project, "pretrain")
        run_stage(project, "train", 0)
        weights.append((project / "data/train/0/weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_other_settings_run_through_as_well(project: Path) -> None:
    """A plain convolutional U-Net on single tiles, nothing synthetic, no presence head."""
    write_params(
        project,
        index={"stack": "none"},
        synthesize={"tiles": 0},
        pretrain={"epochs": 0},
        model={
            "architecture": "unet",
            "encoder": "resnet10t",
            "decoder_channels": [16, 16, 8, 8, 8],
            "attention": "none",
            "presence_head": False,
            "stack_width": 1,
        },
        loss={"bce_weight": 1.0, "lovasz_weight": 1.0, "focal_weight": 0.0, "presence_weight": 0.0},
        augment={"rotation": 5.0, "elastic": 0.5, "cutout": 0.5, "mixup": 0.5, "cutmix": 0.5},
        train={
            "epochs": 1,
            "optimiser": "sgd",
            "freeze_encoder_epochs": 1,
            "swa_start": 0.0,
            "precision": "bf16",
            "ema_decay": 0.0,
            "validation_share": 0.0,
            "early_stopping": 0,
        },
        uncertainty={"passes": 1},
        refine={"adopt": "always"},
        ensemble={"tta": "none"},
    )
    run_stage(project, "synthesize")
    run_learning(project)
    tiles = read_csv(project / "data/ensemble/test_tiles.csv")
    assert tiles["presence"].isna().all()
    assert not read_array(project / "data/uncertainty/0/oof_variance.npy").any()
    assert read_json(project / "data/ensemble/summary.json")["refined"] is True
    assert len(read_csv(project / "data/submit/submission.csv", ("id", "rle_mask"))) == 6


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages in order on a demo survey of four blocks."""
    folder = tmp_path_factory.mktemp("demo")
    write_params(
        folder,
        pretrain={"epochs": 1},
        train={"epochs": 1, "validation_share": 0.0, "early_stopping": 0},  # few groups to spare
    )
    for stage in ("ingest", "index", "synthesize"):
        run_stage(folder, stage)
    run_learning(folder)
    run_stage(folder, "report")
    return folder


def test_the_demo_survey_becomes_a_submission_for_its_test_tiles(demo: Path) -> None:
    submission = read_csv(demo / "data/submit/submission.csv", ("id", "rle_mask"))
    sample = read_csv(demo / "data/ingest/sample_submission.csv", ("id", "rle_mask"))
    assert list(submission["id"]) == list(sample["id"])
    assert len(sample) > 0


def test_every_labelled_tile_of_the_demo_is_scored_out_of_fold(demo: Path) -> None:
    store = open_store(demo / "data/ingest")
    scores = read_csv(demo / "data/threshold/scores.csv")
    assert sorted(scores["id"]) == sorted(store.labelled["id"])
    assert scores["score"].between(0, 1).all()
    assert set(scores["fold"]) == set(FOLDS)


def test_the_demo_ends_with_a_report_that_needs_no_network(demo: Path) -> None:
    metrics = read_json(demo / "data/report/metrics.json")
    scores = read_csv(demo / "data/threshold/scores.csv")["score"]
    assert metrics["out_of_fold"]["score"] == pytest.approx(np.mean(scores), abs=1e-4)
    page = (demo / "data/report/index.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page


def test_a_users_mistake_ends_in_one_line_and_exit_code_one(tmp_path: Path) -> None:
    make_project(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "stages.train", "--fold", "9"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: data/index/folds.csv: fold 9 has 0 of 24 tiles")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data/train").exists()

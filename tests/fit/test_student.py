import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_project import (
    FOLDS,
    files_of,
    run_stage,
    stack_along_sections,
    tiny_params,
    write_params,
)

from salt.augment import Augmentation, AugmentConfig
from salt.errors import StoreError
from salt.files import read_array, read_csv, write_array, write_csv
from salt.fit.fold import read_fold
from salt.fit.segmentation import SegmentationTask
from salt.fit.student import StudentTask, pass_on, pseudo_tiles
from salt.losses.compound import loss_config
from salt.models.weights import read_weights
from salt.store import open_store

SECOND = {"share": 0.5, "agreement": 0.0, "weight": 0.5, "epochs": 1, "learning_rate": 1e-3}


def labelled_task(project: Path) -> SegmentationTask:
    data, params = project / "data", tiny_params()
    fold = read_fold(
        data / "ingest",
        data / "index",
        data / "synthesize",
        fold=0,
        stack_width=3,
        padding="reflect",
        input_size=128,
        validation_share=0.0,
        seed=1,
    )
    return SegmentationTask(
        "student@0",
        fold,
        loss_config(params["loss"]),
        Augmentation(AugmentConfig(**params["augment"])),
        batch_size=4,
        synthetic_share=0.0,
        precision="fp32",
        seed=1,
        workers=0,
    )


def student_task(project: Path, count: int, weight: float = 0.5) -> StudentTask:
    labelled = labelled_task(project)
    tiles = labelled.data.training.subset(np.arange(count))
    return StudentTask(labelled, tiles, weight)


@pytest.fixture
def second_round(finished_project: Path, project: Path) -> Path:
    """A project whose fold 0 has had a second round."""
    write_params(project, pseudo=SECOND)
    pass_on(finished_project / "data/train/0", project / "data/train/0")
    ids = open_store(project / "data/ingest").unlabelled["id"].iloc[1:6]
    masks = np.zeros((5, 101, 101), np.uint8)
    masks[::2, 50:] = 1
    write_array(project / "data/pseudo/0/masks.npy", masks)
    write_csv(project / "data/pseudo/0/tiles.csv", pd.DataFrame({"id": ids, "agreement": 1.0}))
    run_stage(project, "student", 0)
    return project


@pytest.mark.parametrize("count", [4, 12])
def test_every_step_pairs_a_labelled_batch_with_a_pseudo_labelled_one(
    project: Path, count: int
) -> None:
    task = student_task(project, count)
    first, again = list(task.batches(0)), list(task.batches(0))
    assert len(first) == task.steps() == len(task.labelled.data.training) // 4
    possible = set(task.pseudo.data.training.ids)
    assert all(set(pair.pseudo.ids) <= possible for pair in first)
    for one, other in zip(first, again, strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.pseudo.images, other.pseudo.images)
    following = next(iter(task.batches(1)))
    assert not torch.equal(first[0].pseudo.images, following.pseudo.images)


@pytest.mark.parametrize("weight", [0.25, 0.0])
def test_the_loss_is_the_weighted_mean_of_both(
    project: Path, make_segmenter, weight: float
) -> None:
    task, model = student_task(project, 4, weight=weight), make_segmenter()
    pair = next(iter(task.batches(0)))
    labelled = task.labelled.loss(model, pair.labelled, 1.0)
    pseudo = task.labelled.loss(model, pair.pseudo, 1.0)
    expected = (labelled + weight * pseudo) / (1 + weight)
    torch.testing.assert_close(task.loss(model, pair, 0.0), expected)


def test_without_a_chosen_tile_the_first_round_is_passed_on(finished_project: Path) -> None:
    for fold in FOLDS:
        train, student = (finished_project / f"data/{name}/{fold}" for name in ("train", "student"))
        assert files_of(train) == files_of(student)


def test_a_second_round_starts_from_the_first_and_moves(second_round: Path) -> None:
    train, student = (
        read_weights(second_round / f"data/{name}/0/weights.safetensors")
        for name in ("train", "student")
    )
    moved = [float((student[key] - train[key]).abs().max()) for key in ("mask_head.weight",)]
    assert 0 < moved[0] < 0.05  # a few steps of 1e-3 from where the first round ended
    history = read_csv(second_round / "data/student/0/history.csv", ())
    assert len(history) == SECOND["epochs"]


def test_both_rounds_choose_their_epoch_on_the_same_tiles(
    second_round: Path, finished_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second would choose on tiles that the network it starts from has learnt."""
    write_params(second_round, pseudo=SECOND, train={"validation_share": 0.4})
    shutil.copytree(finished_project / "data/pretrain", second_round / "data/pretrain")
    opened = {}
    for stage in ("train", "student"):
        monkeypatch.setattr(
            f"stages.{stage}.fit_fold",
            lambda task, *_, stage=stage, **__: opened.update({stage: task.data}),
        )
        run_stage(second_round, stage, 0)
    assert opened["train"].validation.ids == opened["student"].validation.ids
    assert len(opened["train"].validation) > 0


def test_the_same_second_round_gives_the_same_bytes(second_round: Path) -> None:
    before = files_of(second_round / "data/student")
    run_stage(second_round, "student", 0)
    assert files_of(second_round / "data/student") == before


def test_uncertainty_is_that_of_the_second_round(second_round: Path) -> None:
    write_params(second_round, pseudo=SECOND, uncertainty={"passes": 1}, ensemble={"tta": "none"})
    run_stage(second_round, "uncertainty", 0)
    measured = read_array(second_round / "data/uncertainty/0/oof_mean.npy")
    student = read_array(second_round / "data/student/0/oof_probability.npy")
    np.testing.assert_allclose(measured, student, atol=1e-3)


def test_pseudo_labels_are_of_test_tiles_with_their_own_images(second_round: Path) -> None:
    data = labelled_task(second_round).data
    store = open_store(second_round / "data/ingest")
    tiles = pseudo_tiles(second_round / "data/pseudo/0", store, data)
    assert len(tiles) > 0
    rows = store.rows_of(tiles.ids)
    assert (rows >= len(store.masks)).all()
    np.testing.assert_array_equal(tiles.stacks[:, 1], rows)


def test_pseudo_labelled_stacks_lie_as_the_labelled_ones_do(project: Path) -> None:
    folder, store = project / "data/pseudo/0", open_store(project / "data/ingest")
    write_array(folder / "masks.npy", np.zeros((2, 101, 101), np.uint8))
    write_csv(folder / "tiles.csv", pd.DataFrame({"id": ["b00", "b01"], "agreement": 1.0}))
    told = [pseudo_tiles(folder, store, labelled_task(project).data).along_section]
    stack_along_sections(project)
    told.append(pseudo_tiles(folder, store, labelled_task(project).data).along_section)
    assert told == [False, True]


@pytest.mark.parametrize("spoil", ["masks", "ids"])
def test_pseudo_labels_that_do_not_fit_are_refused(second_round: Path, spoil: str) -> None:
    folder = second_round / "data/pseudo/0"
    store: Any = open_store(second_round / "data/ingest")
    data = labelled_task(second_round).data
    if spoil == "masks":
        write_array(folder / "masks.npy", read_array(folder / "masks.npy", mapped=False)[1:])
    else:  # all tiles have a label of their own
        store = SimpleNamespace(rows_of=store.rows_of, masks=store.images)
    with pytest.raises(StoreError, match=r"expected one mask for each of some test tiles"):
        pseudo_tiles(folder, store, data)

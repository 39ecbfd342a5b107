from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fold_task import fold_of, task_on
from tiny_project import (
    FOLDS,
    INLINES,
    run_stage,
    stack_along_sections,
    tiny_params,
    write_params,
)

from salt.errors import StoreError, TrainingError
from salt.files import read_array, read_csv, write_csv
from salt.fit.fold import _whole_groups
from salt.fit.processes import Processes
from salt.fit.segmentation import (
    HEADS,
    SegmentationTask,
    fit_fold,
)
from salt.fit.task import FitConfig
from salt.models.registry import load_model
from salt.models.segmenter import WEIGHTS, config_from
from salt.models.weights import read_weights
from salt.padding import crop, pad
from salt.store import open_store

ONE_EPOCH = FitConfig(epochs=1, learning_rate=1e-3, weight_decay=0.0)


def fit(task: SegmentationTask, out: Path, pretrained: Path, config: FitConfig = ONE_EPOCH) -> None:
    fit_fold(
        task,
        config_from(tiny_params()["model"]),
        config,
        start=pretrained,
        anew=HEADS,
        out=out,
        resume=out / "resume",
        report=lambda *_: None,
        processes=Processes(torch.device("cpu")),
    )


@pytest.mark.parametrize("fold", FOLDS)
def test_a_folds_own_tiles_are_neither_trained_on_nor_validated_with(
    project: Path, fold: int
) -> None:
    data = fold_of(project, fold)
    folds = read_csv(project / "data/index/folds.csv").set_index("id")["fold"]
    assert data.ids == list(folds.index[folds == fold])
    seen = data.training.ids + data.validation.ids
    assert sorted(seen + data.ids) == list(folds.index)
    np.testing.assert_array_equal(data.held_out, np.flatnonzero(folds == fold))


def test_validation_tiles_are_whole_groups(project: Path) -> None:
    data = fold_of(project)
    groups = read_csv(project / "data/index/folds.csv").set_index("id")["group"]
    assert len(data.validation) == 3  # a quarter of twelve, in groups of three
    assert not set(groups[data.validation.ids]) & set(groups[data.training.ids])


def test_without_a_validation_share_all_tiles_are_trained_on(project: Path) -> None:
    data = fold_of(project, validation_share=0.0)
    assert (len(data.training), len(data.validation)) == (12, 0)
    assert task_on(data).validate(model=None) == {}


def test_groups_are_chosen_until_the_share_is_reached() -> None:
    groups = np.repeat(np.arange(10), 4)
    for share, count in ((0.0, 0), (0.1, 1), (0.25, 3), (0.5, 5)):
        chosen = _whole_groups(groups, share, seed=3)
        assert len(np.unique(groups[chosen])) == count
        assert chosen.sum() == 4 * count
    assert (_whole_groups(groups, 0.3, 3) != _whole_groups(groups, 0.3, 4)).any()


def test_a_folds_tiles_are_told_whether_stacks_lie_along_the_section(project: Path) -> None:
    assert not fold_of(project).training.along_section
    stack_along_sections(project)
    data = fold_of(project)
    assert data.training.along_section
    assert data.validation.along_section
    assert task_on(data, synthetic_share=0.5).tiles.along_section


def test_a_synthetic_tile_is_its_own_neighbour(project: Path) -> None:
    data = fold_of(project)
    assert data.synthetic.ids[0] == "syn_00000"
    assert data.synthetic.stacks.tolist() == [[row] * 3 for row in range(8)]


def test_a_fold_that_is_not_there_is_refused(project: Path) -> None:
    with pytest.raises(StoreError, match=r"fold 7 has 0 of 24 tiles; expected some and not all"):
        fold_of(project, fold=7)


def test_folds_of_other_tiles_are_refused(project: Path) -> None:
    path = project / "data/index/folds.csv"
    write_csv(path, read_csv(path)[:-1])
    with pytest.raises(StoreError, match=r"folds.csv is not about the 24 labelled tiles"):
        fold_of(project)


def test_an_epoch_has_as_many_batches_as_it_says(project: Path) -> None:
    data = fold_of(project)
    for share, tiles in ((0.0, 9), (1.0, 18), (2.0, 27)):  # synthetic tiles repeat if need be
        task = task_on(data, synthetic_share=share)
        batches = list(task.batches(epoch=0))
        assert len(batches) == task.steps() == tiles // 4
        synthetic = [n for batch in batches for n in batch.ids if n.startswith("syn")]
        assert bool(synthetic) == bool(share)


def test_validation_is_the_competitions_score_at_one_half(project: Path, make_segmenter) -> None:
    task, model = task_on(fold_of(project)), make_segmenter()
    torch.nn.init.zeros_(model.mask_head.weight)
    empty = (task.data.validation.masks.max((1, 2)) == 0).mean()
    torch.nn.init.constant_(model.mask_head.bias, -5.0)  # nothing is salt
    assert task.validate(model) == {"validation_score": pytest.approx(empty)}


def test_fewer_tiles_than_a_batch_end_in_one_line(project: Path, tmp_path: Path) -> None:
    task = task_on(fold_of(project), batch_size=10)
    with pytest.raises(TrainingError, match="9 training tiles are fewer than a batch of 10"):
        fit(task, tmp_path / "out", pretrained=tmp_path)


def test_out_of_fold_predictions_are_those_of_the_saved_weights(finished_project: Path) -> None:
    store = open_store(finished_project / "data/ingest")
    for fold in FOLDS:
        folder = finished_project / f"data/train/{fold}"
        tiles = read_csv(folder / "oof_tiles.csv")
        assert list(tiles["id"]) == fold_of(finished_project, fold).ids
        rows = store.rows_of(tiles["id"])
        first = rows // INLINES * INLINES  # of the volume, whose tiles lie behind each other
        stacks = np.stack([rows - 1, rows, rows + 1]).clip(first, first + INLINES - 1).T
        images = (torch.from_numpy(store.images[stacks] / np.float32(255)) - 0.47) / 0.16
        with torch.no_grad():
            output = load_model(folder)(pad(images, 128))
        expected = torch.sigmoid(crop(output.mask_logits, 101))[:, 0].numpy()
        stored = read_array(folder / "oof_probability.npy")
        assert stored.dtype == np.float16
        np.testing.assert_allclose(stored, expected, atol=1e-3)
        presence = torch.sigmoid(output.presence_logits)[:, 0].numpy()
        np.testing.assert_allclose(tiles["presence"], presence, atol=1e-4)


def test_training_starts_from_the_pretrained_weights_but_for_the_heads(
    finished_project: Path, tmp_path: Path
) -> None:
    untrained = replace(ONE_EPOCH, epochs=0)
    pretrained = finished_project / "data/pretrain"
    fit(task_on(fold_of(finished_project)), tmp_path, pretrained=pretrained, config=untrained)
    started = read_weights(tmp_path / WEIGHTS)
    for key, tensor in read_weights(pretrained / WEIGHTS).items():
        assert torch.equal(started[key], tensor) == (not key.startswith(HEADS)), key


def test_the_tiny_network_learns_dark_salt(project: Path) -> None:
    write_params(project, pretrain={"epochs": 0}, train={"epochs": 8, "ema_decay": 0.0})
    run_stage(project, "pretrain")
    run_stage(project, "train", 0)
    history = read_csv(project / "data/train/0/history.csv", ())
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert history["validation_score"].max() > 0.5

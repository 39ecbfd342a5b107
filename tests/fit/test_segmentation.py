from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_project import (
    FOLDS,
    INLINES,
    lay_in_rows_of_six,
    run_stage,
    tiny_params,
    write_params,
)

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import Batch, normalise
from salt.errors import StoreError, TrainingError
from salt.files import read_array, read_csv, write_array, write_csv
from salt.fit.segmentation import (
    HEADS,
    FoldData,
    SegmentationTask,
    _whole_groups,
    at_tile_size,
    fit_fold,
    read_fold,
)
from salt.fit.task import FitConfig
from salt.losses.compound import compound_loss, loss_config
from salt.models.predict import predict
from salt.models.registry import load_model
from salt.models.segmenter import WEIGHTS, Segmentation, config_from
from salt.models.weights import read_weights
from salt.padding import crop, pad
from salt.seeding import derive_seed
from salt.store import open_store

ONE_EPOCH = FitConfig(epochs=1, learning_rate=1e-3, weight_decay=0.0)


def fold_of(project: Path, fold: int = 0, **changes: Any) -> FoldData:
    settings = {"stack_width": 3, "padding": "reflect", "input_size": 128}
    settings |= {"validation_share": 0.25, "seed": 1} | changes
    folders = (project / "data" / name for name in ("ingest", "index", "synthesize"))
    return read_fold(*folders, fold=fold, **settings)


def task_on(
    data: FoldData,
    loss: dict[str, Any] | None = None,
    augment: dict[str, float] | None = None,
    **changes: Any,
):
    params = tiny_params()
    settings = {"batch_size": 4, "synthetic_share": 0.0, "precision": "fp32"} | changes
    return SegmentationTask(
        "train@0",
        data,
        loss_config(params["loss"] | (loss or {})),
        Augmentation(AugmentConfig(**(params["augment"] | (augment or {})))),
        seed=1,
        workers=0,
        **settings,
    )


def fit(task: SegmentationTask, out: Path, pretrained: Path, config: FitConfig = ONE_EPOCH) -> None:
    fit_fold(
        task,
        config_from(tiny_params()["model"]),
        config,
        start=pretrained,
        anew=HEADS,
        out=out,
        resume=out / "resume",
        device=torch.device("cpu"),
        report=lambda *_: None,
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


def test_a_batch_is_computed_on_the_tiles_own_pixels(project: Path, make_segmenter) -> None:
    task, model = task_on(fold_of(project)), make_segmenter()
    (batch, *_) = task.batches(epoch=0)
    output = model(pad(batch.images, 128))
    output = output._replace(mask_logits=crop(output.mask_logits, 101))
    expected = compound_loss(output, batch.masks, batch.valid, batch.distance, task.loss_config)
    torch.testing.assert_close(task.loss(model, batch, 0.0), expected)


@pytest.mark.parametrize(
    ("padding", "mode"), [("reflect", "reflect"), ("edge", "replicate"), ("zero", "constant")]
)
def test_invented_pixels_are_added_after_augmentation(
    project: Path, make_segmenter, padding: str, mode: str
) -> None:
    task, model, shown = task_on(fold_of(project)), make_segmenter(padding=padding), []
    model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    (batch, *_) = task.batches(epoch=0)
    task.loss(model, batch, 0.0)
    for position, name in enumerate(batch.ids):
        row = task.tiles.ids.index(name)
        stack = np.moveaxis(task.tiles.images[task.tiles.stacks[row]], 0, -1)
        labels = (task.tiles.masks[row], task.tiles.ignore[row])
        seed = derive_seed(1, "augment", 0, position)
        moved, mask, _ = task.augmentation(np.ascontiguousarray(stack), *labels, seed)
        augmented = normalise(np.moveaxis(moved, -1, 0))
        expected = F.pad(augmented[None], (13, 14, 13, 14), mode=mode)
        assert torch.equal(shown[0][position], expected[0])
        np.testing.assert_array_equal(batch.masks[position, 0].numpy(), mask)


def test_with_real_margins_the_whole_canvas_is_learnt_from(project: Path, make_segmenter) -> None:
    lay_in_rows_of_six(project)
    task = task_on(fold_of(project, padding="neighbours"), synthetic_share=0.5)
    model = make_segmenter(padding="neighbours")
    (batch, *_) = task.batches(epoch=0)
    assert batch.images.shape[-1] == batch.masks.shape[-1] == 128
    margin = batch.valid.clone()
    margin[..., 13:114, 13:114] = 0
    assert margin.any()
    output = model(batch.images)
    expected = compound_loss(
        output, batch.masks, batch.valid, batch.distance, task.loss_config, own_size=101
    )
    torch.testing.assert_close(task.loss(model, batch, 0.0), expected)
    blind = replace(batch, valid=batch.valid - margin)
    assert task.loss(model, blind, 0.0) != task.loss(model, batch, 0.0)


def test_presence_is_asked_of_the_tile_and_not_of_its_margin(project: Path, make_segmenter) -> None:
    lay_in_rows_of_six(project)
    weights = {"dice_weight": 0.0, "focal_weight": 0.0, "boundary_weight": 0.0}
    task = task_on(fold_of(project, padding="neighbours"), loss=weights)
    model = make_segmenter(padding="neighbours")
    (batch, *_) = task.batches(epoch=0)
    blank = torch.zeros_like(batch.masks)
    salty_margin, salty_tile = blank.clone(), blank.clone()
    salty_margin[..., :13], salty_tile[..., 64, 64] = 1, 1
    losses = [
        task.loss(model, replace(batch, masks=masks, valid=torch.ones_like(blank)), 0.0)
        for masks in (blank, salty_margin, salty_tile)
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("fold", FOLDS)
def test_masks_of_held_out_neighbours_never_enter_training(project: Path, fold: int) -> None:
    lay_in_rows_of_six(project)  # tiles of both folds lie side by side
    data = fold_of(project, fold, padding="neighbours")
    honest = list(task_on(data).batches(epoch=0))
    path = project / "data/ingest/masks.npy"
    masks = read_array(path, mapped=False)
    left_out = [*data.held_out, *data.validation.stacks[:, 1]]
    masks[left_out] = 1 - masks[left_out]
    write_array(path, masks)
    forged = list(task_on(fold_of(project, fold, padding="neighbours")).batches(epoch=0))
    for one, other in zip(honest, forged, strict=True):
        assert one.ids == other.ids
        for name in ("images", "masks", "valid", "distance"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_saved_model_predicts_with_the_margins_it_was_trained_with(project: Path) -> None:
    lay_in_rows_of_six(project)
    model = {"padding": "neighbours"}
    write_params(
        project,
        model=model,
        pretrain={"epochs": 0},
        train={"epochs": 1},
        uncertainty={"passes": 1},
        ensemble={"tta": "none"},
    )
    for stage, *fold in (
        ("pretrain",),
        *((s, 0) for s in ("train", "pseudo", "student", "uncertainty")),
    ):
        run_stage(project, stage, *fold)
    folder = project / "data/train/0"
    assert load_model(folder).config.padding == "neighbours"
    trained = read_array(folder / "oof_probability.npy")
    measured = read_array(project / "data/uncertainty/0/oof_mean.npy")
    np.testing.assert_allclose(measured, trained, atol=1e-3)
    data = fold_of(project)
    reflected, _ = predict(load_model(folder), data.images, data.stacks[data.held_out])
    assert np.abs(reflected - trained).max() > 0.01


def test_the_boundary_weight_changes_the_loss_of_the_same_batch(
    project: Path, make_segmenter
) -> None:
    data, model = fold_of(project), make_segmenter()
    losses = []
    for weight in (0.0, 0.1, 0.5):
        task = task_on(data, loss={"boundary_weight": weight})
        (batch, *_) = task.batches(epoch=0)
        assert bool(batch.distance.any()) == (weight > 0)  # only computed if it counts
        losses.append(task.loss(model, batch, 0.0).item())
    assert len(set(losses)) == 3


def test_the_loss_follows_its_schedule(project: Path, make_segmenter) -> None:
    phase = {"share": 0.5, "change": "step", "weights": {"dice_weight": 0.0, "bce_weight": 3.0}}
    data, model = fold_of(project), make_segmenter()
    task = task_on(data, loss={"schedule": [phase]})
    (batch, *_) = task.batches(epoch=0)
    early, late = (task.loss(model, batch, share) for share in (0.4, 0.6))
    torch.testing.assert_close(early, task_on(data).loss(model, batch, 0.6))
    changed = task_on(data, loss=phase["weights"])
    torch.testing.assert_close(late, changed.loss(model, batch, 0.0))
    assert late > early


def test_a_blended_batch_blends_the_losses_of_both_targets(project: Path, make_segmenter) -> None:
    task, model = task_on(fold_of(project)), make_segmenter()
    (batch, *_) = task.batches(epoch=0)
    partner = torch.tensor([2, 3, 0, 1])
    swapped = replace(
        batch,
        masks=batch.masks[partner],
        valid=batch.valid[partner],
        distance=batch.distance[partner],
    )
    own, other = (task.loss(model, one, 0.0) for one in (batch, swapped))
    assert own != other
    blended = task.loss(model, replace(batch, partner=partner, share=0.7), 0.0)
    torch.testing.assert_close(blended, 0.7 * own + 0.3 * other)


@pytest.mark.parametrize("setting", ["mixup", "cutmix"])
def test_mixing_changes_the_batches_of_training(project: Path, setting: str) -> None:
    data = fold_of(project)
    plain, mixing = task_on(data), task_on(data, augment={setting: 1.0})
    first, other = (next(iter(task.batches(epoch=0))) for task in (plain, mixing))
    assert first.ids == other.ids
    assert not torch.equal(first.images, other.images)
    assert (other.partner is not None) == (setting == "mixup")


def test_distances_are_there_for_a_phase_that_comes_later(project: Path) -> None:
    phase = {"share": 0.5, "change": "step", "weights": {"distance_weight": 1.0}}
    task = task_on(fold_of(project), loss={"boundary_weight": 0.0, "schedule": [phase]})
    (batch, *_) = task.batches(epoch=0)
    assert batch.distance.any()


def test_coarse_auxiliary_logits_are_brought_to_the_tiles_own_pixels() -> None:
    ramp = torch.linspace(0, 1, 128).expand(1, 1, 128, 128)
    output = Segmentation(ramp, None, (ramp[..., ::2, ::2], ramp))
    cropped = at_tile_size(output, 128, 101)
    torch.testing.assert_close(cropped.mask_logits, crop(ramp, 101))
    torch.testing.assert_close(cropped.auxiliary[1], crop(ramp, 101))
    torch.testing.assert_close(cropped.auxiliary[0], crop(ramp, 101), atol=0.01, rtol=0)


def test_auxiliary_outputs_that_are_not_there_cannot_be_weighted(
    project: Path, make_segmenter
) -> None:
    task = task_on(fold_of(project), loss={"auxiliary_weight": 0.4})
    (batch, *_) = task.batches(epoch=0)
    with pytest.raises(TrainingError, match=r"auxiliary_weight is 0.4, but the network has no"):
        task.loss(make_segmenter().train(), batch, 0.0)


def test_ignored_pixels_have_no_say_in_training(project: Path, make_segmenter) -> None:
    task, model = task_on(fold_of(project)), make_segmenter()
    (batch, *_) = task.batches(epoch=0)
    valid = torch.ones_like(batch.valid)
    valid[..., :50] = 0
    gradients = []
    for masks in (batch.masks, torch.where(valid == 1, batch.masks, 1 - batch.masks)):
        model.zero_grad()
        spoilt = Batch(batch.images, masks, valid, batch.distance, batch.ids)
        task.loss(model, spoilt, 0.0).backward()
        gradients.append(model.mask_head.weight.grad.clone())
    assert torch.equal(*gradients)


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

"""What a fold's network learns from: padding, margins, mixing, schedules."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fold_task import fold_of, task_on
from tiny_project import (
    FOLDS,
    lay_in_rows_of_six,
    run_stage,
    write_params,
)

from salt.dataset import Batch, normalise
from salt.errors import TrainingError
from salt.files import read_array, write_array
from salt.fit.segmentation import (
    at_tile_size,
)
from salt.losses.compound import compound_loss
from salt.models.predict import predict
from salt.models.registry import load_model
from salt.models.segmenter import Segmentation
from salt.padding import crop, pad
from salt.seeding import derive_seed


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


def test_padding_is_cropped_off_auxiliary_logits_as_well() -> None:
    ramp = torch.linspace(0, 1, 128).expand(1, 1, 128, 128)
    cropped = at_tile_size(Segmentation(ramp, None, (ramp + 1, ramp + 2)), 101)
    torch.testing.assert_close(cropped.mask_logits, crop(ramp, 101))
    for more, logits in enumerate(cropped.auxiliary, start=1):
        torch.testing.assert_close(logits, crop(ramp, 101) + more)


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

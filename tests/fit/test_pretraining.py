from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_project import (
    lay_in_rows_of_six,
    run_stage,
    stack_along_sections,
    tiny_params,
    write_params,
)

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import LabelledTiles
from salt.files import read_array, read_csv, write_csv
from salt.fit.pretraining import PretrainingTask, read_images
from salt.models.masked import MaskedModel
from salt.models.registry import load_model
from salt.models.segmenter import WEIGHTS
from salt.models.weights import read_weights
from salt.padding import crop, pad


def images_of(project: Path, **changes: Any) -> LabelledTiles:
    settings = {"stack_width": 3, "padding": "reflect", "input_size": 128} | changes
    return read_images(project / "data/ingest", project / "data/index", **settings)


@pytest.fixture
def task(project: Path) -> PretrainingTask:
    return PretrainingTask(
        images_of(project),
        Augmentation(AugmentConfig(**tiny_params()["augment"])),
        batch_size=8,
        mask_ratio=0.5,
        patch_size=8,
        seed=1,
        workers=0,
    )


class Spy:
    """Notes what the network is shown."""

    def __init__(self, model: MaskedModel) -> None:
        self.model, self.segmenter, self.hidden = model, model.segmenter, []

    def __call__(self, images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        self.hidden.append(hidden)
        return self.model(images, hidden)


@pytest.fixture
def spy(make_segmenter) -> Spy:
    return Spy(MaskedModel(make_segmenter()).eval())


def test_train_and_test_tiles_are_seen_and_constant_ones_are_not(project: Path) -> None:
    path = project / "data/ingest/tiles.csv"
    table = read_csv(path)
    table.loc[[3, 27], "is_constant"] = True
    write_csv(path, table)
    tiles = images_of(project, stack_width=1)
    assert tiles.ids == [name for name in table["id"] if name not in ("a03", "b03")]
    assert tiles.stacks[:, 0].tolist() == [row for row in range(30) if row not in (3, 27)]


def test_stacks_along_the_section_are_known_as_such(project: Path) -> None:
    assert not images_of(project).along_section
    stack_along_sections(project)
    assert images_of(project).along_section


def test_masks_are_never_looked_at(task: PretrainingTask) -> None:
    assert not task.tiles.masks.any()


def test_an_epoch_has_as_many_batches_as_it_says(task: PretrainingTask) -> None:
    assert len(list(task.batches(epoch=0))) == task.steps() == 3


def test_half_of_the_pixels_are_hidden_and_the_loss_is_about_them(
    task: PretrainingTask, spy: Spy
) -> None:
    (batch, *_) = task.batches(epoch=0)
    loss = task.loss(spy, batch, 0.0)
    (hidden,) = spy.hidden
    assert hidden.mean((1, 2, 3)).tolist() == pytest.approx([0.5] * 8, abs=0.08)
    drawn = spy.model(pad(batch.images, 128), hidden)
    error = (drawn - pad(batch.images, 128)[:, 1:2]).abs()[hidden == 1]
    torch.testing.assert_close(loss, error.mean())


def test_what_is_hidden_is_not_left_in_the_mirror_image_that_pads_the_tile(
    task: PretrainingTask, spy: Spy
) -> None:
    (batch, *_) = task.batches(epoch=0)
    task.loss(spy, batch, 0.0)
    (hidden,) = spy.hidden
    assert torch.equal(hidden, pad(crop(hidden, 101), 128))
    images = pad(batch.images, 128)
    altered = pad(batch.images + 5 * crop(hidden, 101), 128)
    with torch.no_grad():
        assert torch.equal(spy.model(images, hidden), spy.model(altered, hidden))


@pytest.mark.parametrize("padding", ["edge", "zero"])
def test_other_padding_hides_its_copies_too(
    task: PretrainingTask, make_segmenter, padding: str
) -> None:
    spy = Spy(MaskedModel(make_segmenter(padding=padding)).eval())
    (batch, *_) = task.batches(epoch=0)
    task.loss(spy, batch, 0.0)
    (hidden,) = spy.hidden
    assert torch.equal(hidden, pad(crop(hidden, 101), 128, padding))


def test_what_no_neighbour_fills_is_hidden_from_a_network_with_real_margins(
    project: Path, make_segmenter
) -> None:
    lay_in_rows_of_six(project)
    task = PretrainingTask(
        images_of(project, padding="neighbours"),
        Augmentation(AugmentConfig(**tiny_params()["augment"])),
        batch_size=8,
        mask_ratio=0.5,
        patch_size=8,
        seed=1,
        workers=0,
    )
    spy = Spy(MaskedModel(make_segmenter(padding="neighbours")).eval())
    (batch, *_) = task.batches(epoch=0)
    assert torch.isfinite(task.loss(spy, batch, 0.0))
    (hidden,) = spy.hidden
    assert hidden.shape == batch.valid.shape == (8, 1, 128, 128)
    assert 0 < batch.valid.mean() < 1
    assert hidden[batch.valid == 0].all()
    assert hidden[batch.valid == 1].mean().item() == pytest.approx(0.5, abs=0.05)


def test_an_epoch_hides_the_same_places_whenever_it_is_asked_for(
    task: PretrainingTask, spy: Spy
) -> None:
    for epoch in (1, 0, 1):
        (batch, *_) = task.batches(epoch)
        task.loss(spy, batch, 0.0)
    first, other, again = spy.hidden
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pretraining_learns_to_draw(project: Path) -> None:
    write_params(project, pretrain={"epochs": 6, "learning_rate": 5e-3})
    run_stage(project, "pretrain")
    losses = read_csv(project / "data/pretrain/history.csv", ())["train_loss"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]


def test_without_epochs_the_weights_are_random_and_the_history_empty(project: Path) -> None:
    write_params(project, pretrain={"epochs": 0})
    run_stage(project, "pretrain")
    load_model(project / "data/pretrain")
    history = read_csv(project / "data/pretrain/history.csv", ())
    assert list(history) == ["epoch", "learning_rate", "train_loss"]
    assert history.empty


def test_the_encoder_that_was_pretrained_is_the_one_that_is_kept(
    finished_project: Path, project: Path
) -> None:
    write_params(project, pretrain={"epochs": 0})
    run_stage(project, "pretrain")
    random, trained = (
        read_weights(folder / "data/pretrain" / WEIGHTS) for folder in (project, finished_project)
    )
    assert random.keys() == trained.keys()
    moved = [key for key in trained if not torch.equal(random[key], trained[key])]
    assert any(key.startswith("encoder.") for key in moved)
    assert any(key.startswith("decoder.") for key in moved)


def test_the_images_of_the_store_are_left_as_they_were(
    task: PretrainingTask, project: Path
) -> None:
    list(task.batches(epoch=0))
    images: Any = read_array(project / "data/ingest/images.npy")
    np.testing.assert_array_equal(task.tiles.images, images)

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from salt.dataset import normalise
from salt.models.predict import BATCH_SIZE, predict
from salt.models.segmenter import Segmentation


class Echo(nn.Module):
    """Answers with the stack's middle channel, plus `ramp` growing to the right."""

    def __init__(self, ramp: float = 0.0, presence: bool = True) -> None:
        super().__init__()
        self.config = SimpleNamespace(input_size=128, padding="reflect")
        self.ramp = nn.Parameter(ramp * torch.arange(128.0))
        self.presence = presence

    def forward(self, images: torch.Tensor) -> Segmentation:
        logits = images[:, [images.shape[1] // 2]] + self.ramp
        return Segmentation(logits, logits[:, 0, :1, 0] if self.presence else None)


@pytest.fixture
def images() -> np.ndarray:
    count = BATCH_SIZE + 3  # one batch is not enough
    return np.random.default_rng(0).integers(0, 256, (count, 101, 101), dtype=np.uint8)


def stacks_of(images: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(images))[:, None], 3, axis=1)


def sigmoid(logits: torch.Tensor) -> np.ndarray:
    return torch.sigmoid(logits).numpy()


def test_probabilities_are_at_the_tiles_own_place_and_in_order(images: np.ndarray) -> None:
    probability, _ = predict(Echo(), images, stacks_of(images))
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, sigmoid(normalise(images)), rtol=1e-6)


def test_only_the_rows_asked_for_are_predicted(images: np.ndarray) -> None:
    probability, presence = predict(Echo(), images, stacks_of(images)[[7, 3]])
    np.testing.assert_allclose(probability, sigmoid(normalise(images[[7, 3]])), rtol=1e-6)
    assert presence.shape == (2,)


def test_the_flipped_view_lands_on_the_plain_one(images: np.ndarray) -> None:
    plain, _ = predict(Echo(), images, stacks_of(images))
    flipped, _ = predict(Echo(), images, stacks_of(images), flip=True)
    np.testing.assert_array_equal(flipped, plain)  # 13 pixels of padding before, 14 behind


def test_the_flipped_view_is_mirrored_back_and_averaged(images: np.ndarray) -> None:
    probability, _ = predict(Echo(ramp=0.02), images, stacks_of(images), flip=True)
    logits, column = normalise(images), 13 + torch.arange(101)
    views = [sigmoid(logits + 0.02 * place) for place in (column, 127 - column)]
    np.testing.assert_allclose(probability, (views[0] + views[1]) / 2, rtol=1e-5)


class LooksLeft(Echo):
    """Answers with the left channel and half of the own one."""

    def forward(self, images: torch.Tensor) -> Segmentation:
        return Segmentation(images[:, [0]] + images[:, [1]] / 2 + self.ramp, None)


@pytest.mark.parametrize("along_section", [True, False])
def test_a_mirrored_section_is_predicted_as_the_section_mirrored(
    images: np.ndarray, along_section: bool
) -> None:
    rows = np.arange(1, 6)
    stacks = np.stack([rows - 1, rows, rows + 1], axis=1)
    settings = {"flip": True, "along_section": along_section, "name": ""}
    section, _ = predict(LooksLeft(), images, stacks, **settings)
    mirrored = np.ascontiguousarray(images[..., ::-1])
    turned, _ = predict(LooksLeft(), mirrored, stacks[:, ::-1], **settings)
    assert np.allclose(turned, section[..., ::-1], atol=1e-6) == along_section


def test_presence_is_averaged_over_the_views(images: np.ndarray) -> None:
    few = images[:2]
    _, plain = predict(Echo(), few, stacks_of(few))
    _, presence = predict(Echo(), few, stacks_of(few), flip=True)
    corners = sigmoid(normalise(few)[:, 13, [13, 86]])  # what padding mirrors into the corners
    np.testing.assert_allclose(plain, corners[:, 0], rtol=1e-6)
    np.testing.assert_allclose(presence, corners.mean(1), rtol=1e-6)


def test_a_model_without_a_presence_head_predicts_nan(images: np.ndarray) -> None:
    _, presence = predict(Echo(presence=False), images, stacks_of(images))
    assert np.isnan(presence).all()


def test_half_precision_is_close_to_full(make_segmenter, images: np.ndarray) -> None:
    model, few = make_segmenter(), images[:2]
    full, half = (predict(model, few, stacks_of(few), precision=p)[0] for p in ("fp32", "bf16"))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.05)


def test_no_tiles_give_no_maps(images: np.ndarray) -> None:
    probability, presence = predict(Echo(), images, stacks_of(images)[:0])
    assert probability.shape == (0, 101, 101)
    assert presence.shape == (0,)

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from salt.losses.focal import focal_loss


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 1, 7, 7, generator=draw)
    masks = (torch.rand(2, 1, 7, 7, generator=draw) > 0.5).float()
    return logits, masks, torch.ones_like(masks)


def test_the_value_on_two_pixels_is_the_one_by_hand() -> None:
    logits = torch.logit(torch.tensor([0.5, 0.2])).view(1, 1, 1, 2)
    masks = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    expected = (0.5**2 * -math.log(0.5) + 0.2**2 * -math.log(0.8)) / 2
    loss = focal_loss(logits, masks, torch.ones_like(masks), gamma=2.0)
    assert loss.item() == pytest.approx(expected)


def test_gamma_zero_is_binary_cross_entropy(batch) -> None:
    logits, masks, valid = batch
    expected = F.binary_cross_entropy_with_logits(logits, masks)
    torch.testing.assert_close(focal_loss(logits, masks, valid, gamma=0.0), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.5])
def test_it_agrees_with_torchvision(batch, gamma: float) -> None:
    logits, masks, valid = batch
    expected = sigmoid_focal_loss(logits, masks, alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(focal_loss(logits, masks, valid, gamma), expected)


def test_the_mean_is_over_valid_pixels_alone(batch) -> None:
    logits, masks, valid = batch
    valid[:, :, 3:] = 0
    expected = F.binary_cross_entropy_with_logits(logits[:, :, :3], masks[:, :, :3])
    torch.testing.assert_close(focal_loss(logits, masks, valid, gamma=0.0), expected)


def test_larger_gamma_cares_less_for_an_easy_pixel() -> None:
    logits, masks = torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 1, 1)
    losses = [focal_loss(logits, masks, masks, gamma).item() for gamma in (0.0, 1.0, 2.0)]
    assert losses[0] > 10 * losses[1] > 100 * losses[2]

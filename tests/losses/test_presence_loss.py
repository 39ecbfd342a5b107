import math

import pytest
import torch

from salt.losses.presence import presence_loss


def test_the_target_is_any_salt_in_the_tile() -> None:
    logits = torch.logit(torch.tensor([[0.8], [0.4]]))
    masks = torch.zeros(2, 1, 3, 3)
    masks[0, 0, 1, 1] = 1
    expected = (-math.log(0.8) - math.log(0.6)) / 2
    assert presence_loss(logits, masks, torch.ones_like(masks)).item() == pytest.approx(expected)


def test_salt_under_ignored_pixels_is_not_present() -> None:
    logits = torch.logit(torch.tensor([[0.8]]))
    masks = torch.zeros(1, 1, 3, 3)
    masks[0, 0, 1, 1] = 1
    assert presence_loss(logits, masks, 1 - masks).item() == pytest.approx(-math.log(0.2))


def test_a_tile_of_which_nothing_is_known_is_left_out() -> None:
    logits = torch.logit(torch.tensor([[0.8], [0.4]])).requires_grad_()
    valid = torch.ones(2, 1, 3, 3)
    valid[1] = 0
    loss = presence_loss(logits, torch.ones(2, 1, 3, 3), valid)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(0.8))
    assert logits.grad[1] == 0
    assert presence_loss(logits[1:], torch.ones(1, 1, 3, 3), valid[1:]) == 0

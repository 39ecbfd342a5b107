"""What holds for every pixel loss: gradients, ignored pixels, extremes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from salt.dataset import signed_distance
from salt.losses.compound import PIXEL_LOSSES, LossConfig, Targets
from salt.losses.focal import focal_loss
from salt.losses.iou import focal_iou_loss

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def distances_of(masks: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    pairs = zip(masks[:, 0].numpy(), 1 - valid[:, 0].numpy(), strict=True)
    maps = [signed_distance(mask, ignore) for mask, ignore in pairs]
    return torch.from_numpy(np.stack(maps))[:, None].to(masks.dtype)


def on_batch(name: str) -> Loss:
    """A term of the compound loss, with the distances of its masks."""

    def loss(logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        targets = Targets(masks, valid, distances_of(masks, valid))
        return PIXEL_LOSSES[name](logits, targets, LossConfig())

    return loss


LOSSES: dict[str, Loss] = {name: on_batch(name) for name in PIXEL_LOSSES}
LOSSES["focal below 1"] = lambda logits, masks, valid: focal_loss(logits, masks, valid, gamma=0.5)
LOSSES["focal_iou below 1"] = lambda logits, masks, valid: focal_iou_loss(
    logits, masks, valid, gamma=0.5
)
SUPERVISED = {name: loss for name, loss in LOSSES.items() if name != "total_variation"}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 1, 4, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    masks = (torch.rand(2, 1, 4, 4, generator=draw) > 0.5).double()
    valid = (torch.rand(2, 1, 4, 4, generator=draw) > 0.2).double()
    return logits, masks, valid


@every_loss
def test_its_gradient_is_that_of_finite_differences(loss: Loss, batch) -> None:
    logits, masks, valid = batch
    assert torch.autograd.gradcheck(lambda x: loss(x, masks, valid), logits)


@every_loss
def test_ignored_pixels_get_no_gradient_and_change_nothing(loss: Loss, batch) -> None:
    logits, masks, valid = batch
    value = loss(logits, masks, valid)
    value.backward()
    assert (logits.grad[valid == 0] == 0).all()
    assert (logits.grad[valid == 1] != 0).any()
    other = torch.where(valid == 1, logits.detach(), 9 - logits.detach())
    torch.testing.assert_close(loss(other, masks, valid), value.detach())
    relabelled = torch.where(valid == 1, masks, 1 - masks)
    torch.testing.assert_close(loss(logits, relabelled, valid), value)


@every_loss
def test_a_tile_that_is_ignored_wholly_costs_nothing_of_note(loss: Loss, batch) -> None:
    logits, masks, valid = batch
    loss(logits, masks, torch.zeros_like(valid)).backward()
    assert (logits.grad == 0).all()


@every_loss
@pytest.mark.parametrize("size", [1, 6])  # one pixel; a small tile
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("salt", [0.0, 1.0, 0.5])
def test_extremes_stay_finite(loss: Loss, size: int, logit: float, salt: float) -> None:
    masks = torch.zeros(2, 1, size, size)
    masks[:, :, : round(salt * size)] = 1
    logits = torch.full_like(masks, logit, requires_grad=True)
    value = loss(logits, masks, torch.ones_like(masks))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", SUPERVISED.values(), ids=SUPERVISED)
def test_the_right_answer_costs_less_than_the_wrong_one(loss: Loss) -> None:
    masks = torch.zeros(1, 1, 8, 8)
    masks[:, :, 2:6, 2:6] = 1
    right = 5 * (2 * masks - 1)
    valid = torch.ones_like(masks)
    assert loss(right, masks, valid) < loss(-right, masks, valid)

import pytest
import segmentation_models_pytorch as smp
import torch

from salt.losses.dice import dice_loss
from salt.losses.iou import iou_loss
from salt.losses.tversky import tversky_loss


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 1, 7, 7, generator=draw)
    masks = (torch.rand(2, 1, 7, 7, generator=draw) > 0.5).float()
    return logits, masks, (torch.rand(2, 1, 7, 7, generator=draw) > 0.2).float()


def test_the_value_on_four_pixels_is_the_one_by_hand() -> None:
    logits = torch.logit(torch.tensor([0.5, 0.25, 0.75, 0.5])).view(1, 1, 1, 4)
    masks = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 1, 4)
    # found 0.75, invented 1.25, missed 1.25, smoothing 1
    expected = 1 - 1.75 / (0.75 + 0.2 * 1.25 + 0.8 * 1.25 + 1)
    loss = tversky_loss(logits, masks, torch.ones_like(masks), alpha=0.2, beta=0.8)
    assert loss.item() == pytest.approx(expected)


def test_halves_are_dice_and_ones_are_iou(batch) -> None:
    torch.testing.assert_close(tversky_loss(*batch, 0.5, 0.5, 0.5), dice_loss(*batch))
    torch.testing.assert_close(tversky_loss(*batch, 1.0, 1.0), iou_loss(*batch))


def test_it_agrees_with_segmentation_models_pytorch_on_a_tile(batch) -> None:
    logits, masks = (tensor[:1] for tensor in batch[:2])
    reference = smp.losses.TverskyLoss("binary", smooth=1.0, alpha=0.3, beta=0.7)(logits, masks)
    loss = tversky_loss(logits, masks, torch.ones_like(masks), alpha=0.3, beta=0.7)
    torch.testing.assert_close(loss, reference)


def test_beta_above_alpha_makes_missed_salt_dearer_than_invented_salt() -> None:
    masks = torch.zeros(1, 1, 1, 6)
    masks[..., :3] = 1
    invented, missed = torch.full_like(masks, -20), torch.full_like(masks, -20)
    invented[..., :4], missed[..., :2] = 20, 20
    losses = [
        tversky_loss(logits, masks, torch.ones_like(masks), 0.3, 0.7)
        for logits in (invented, missed)
    ]
    assert losses[0] < losses[1]

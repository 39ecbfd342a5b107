import pytest
import segmentation_models_pytorch as smp
import torch

from salt.losses.iou import focal_iou_loss, iou_loss, soft_iou

PROBABILITIES = (0.5, 0.25, 0.75, 0.5)


@pytest.fixture
def four_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    masks = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 1, 4)
    return torch.logit(torch.tensor(PROBABILITIES)).view(1, 1, 1, 4), masks


def test_the_value_on_four_pixels_is_the_one_by_hand(four_pixels) -> None:
    logits, masks = four_pixels
    # overlap 0.75, union 2 + 2 - 0.75, smoothing 1
    expected = 1 - (0.75 + 1) / (3.25 + 1)
    assert iou_loss(logits, masks, torch.ones_like(masks)).item() == pytest.approx(expected)


def test_ignored_pixels_do_not_count(four_pixels) -> None:
    valid = torch.tensor([1.0, 0, 0, 1]).view(1, 1, 1, 4)
    # overlap 0.5, union 1 + 1 - 0.5
    assert iou_loss(*four_pixels, valid).item() == pytest.approx(1 - 1.5 / 2.5)


def test_it_agrees_with_segmentation_models_pytorch_on_a_tile() -> None:
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 1, 9, 9, generator=draw)
    masks = (torch.rand(1, 1, 9, 9, generator=draw) > 0.6).float()
    reference = smp.losses.JaccardLoss("binary", smooth=1.0)(logits, masks)
    torch.testing.assert_close(iou_loss(logits, masks, torch.ones_like(masks)), reference)


def test_each_tile_counts_alike_whatever_its_salt() -> None:
    masks = torch.zeros(2, 1, 6, 6)
    masks[1, 0, :5] = 1
    scores = soft_iou(torch.zeros_like(masks), masks, torch.ones_like(masks))
    # 18 predicted on 0 and on 30 pixels of salt: 1 / 19 and 16 / (18 + 15 + 1)
    torch.testing.assert_close(scores, torch.tensor([1 / 19, 16 / 34]))


def test_the_focal_form_raises_each_tiles_loss_to_its_power(four_pixels) -> None:
    logits, masks = (torch.cat([maps, 0 * maps]) for maps in four_pixels)
    losses = [1 - 1.75 / 4.25, 1 - 1 / 3]  # the second: 4 pixels of 0.5, no salt
    for gamma in (0.5, 1.0, 2.0):
        expected = sum(loss**gamma for loss in losses) / 2
        loss = focal_iou_loss(logits, masks, torch.ones_like(masks), gamma)
        assert loss.item() == pytest.approx(expected)

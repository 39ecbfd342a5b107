import pytest
import segmentation_models_pytorch as smp
import torch

from salt.losses.dice import dice_loss


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.logit(torch.tensor(probabilities)).view(1, 1, 1, -1)


def test_the_value_on_four_pixels_is_the_one_by_hand() -> None:
    logits = logits_of(0.5, 0.25, 0.75, 0.5)
    masks = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 1, 4)
    # overlap 0.75, total 2 + 2, smoothing 1
    expected = 1 - (2 * 0.75 + 1) / (4 + 1)
    assert dice_loss(logits, masks, torch.ones_like(masks)).item() == pytest.approx(expected)


def test_ignored_pixels_do_not_count() -> None:
    logits = logits_of(0.5, 0.25, 0.75, 0.5)
    masks = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 1, 4)
    valid = torch.tensor([1.0, 0, 0, 1]).view(1, 1, 1, 4)
    # overlap 0.5, total 1 + 1
    assert dice_loss(logits, masks, valid).item() == pytest.approx(1 - (1 + 1) / (2 + 1))


def test_a_tile_without_salt_costs_its_predicted_area_over_itself_plus_smoothing() -> None:
    logits = logits_of(0.5, 0.5, 0.5, 0.5)
    masks = torch.zeros(1, 1, 1, 4)
    assert dice_loss(logits, masks, 1 - masks, smoothing=3).item() == pytest.approx(2 / (2 + 3))


def test_each_tile_counts_alike_whatever_its_salt() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 6, 6, generator=draw)
    masks = torch.zeros(2, 1, 6, 6)
    masks[0, 0, 0, 0] = 1
    masks[1, 0, :5] = 1
    alone = [dice_loss(logits[[i]], masks[[i]], torch.ones(1, 1, 6, 6)) for i in (0, 1)]
    both = dice_loss(logits, masks, torch.ones_like(masks))
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)


def test_it_agrees_with_segmentation_models_pytorch_on_a_tile() -> None:
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 1, 9, 9, generator=draw)
    masks = (torch.rand(1, 1, 9, 9, generator=draw) > 0.6).float()
    reference = smp.losses.DiceLoss("binary", smooth=0.5)(logits, masks)  # theirs adds it twice
    torch.testing.assert_close(dice_loss(logits, masks, torch.ones_like(masks)), reference)

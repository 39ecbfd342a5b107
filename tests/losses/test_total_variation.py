import numpy as np
import pytest
import torch

from salt.losses.total_variation import total_variation_loss


def test_the_value_is_that_of_numpys_differences_per_pixel() -> None:
    logits = torch.randn(2, 1, 5, 7, generator=torch.Generator().manual_seed(2))
    maps = 1 / (1 + np.exp(-logits.numpy()))
    expected = sum(np.abs(np.diff(maps, axis=axis)).sum() for axis in (2, 3)) / maps.size
    loss = total_variation_loss(logits, torch.ones_like(logits))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_of_a_hard_mask_it_is_the_length_of_its_outline() -> None:
    logits = torch.full((1, 1, 10, 10), -50.0)
    logits[..., 2:5, 3:7] = 50  # 3 rows, 4 columns
    loss = total_variation_loss(logits, torch.ones_like(logits))
    assert loss.item() == pytest.approx((2 * 3 + 2 * 4) / 100)


def test_a_step_beside_an_ignored_pixel_costs_nothing() -> None:
    logits = torch.tensor([-50.0, -50, 50, 50]).view(1, 1, 1, 4)
    valid = torch.tensor([1.0, 1, 0, 1]).view(1, 1, 1, 4)
    assert total_variation_loss(logits, valid).item() == 0


def test_a_constant_map_costs_nothing() -> None:
    logits = torch.full((2, 1, 6, 6), 0.3)
    assert total_variation_loss(logits, torch.ones_like(logits)).item() == 0

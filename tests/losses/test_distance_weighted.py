import math

import pytest
import torch
import torch.nn.functional as F

from salt.losses.distance_weighted import distance_weighted_loss


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


MASKS, DISTANCE = row(1.0, 1.0, 0.0, 0.0), row(-0.2, 0.0, 0.1, 0.4)


def test_the_value_on_four_pixels_is_the_one_by_hand() -> None:
    logits = torch.logit(row(0.5, 0.25, 0.75, 0.5))
    weights = (1 + 0.5, 1 + 1, 1 + 0.75, 1 + 0)  # nearness 1 - |distance| / 0.4
    entropies = (math.log(2), math.log(4), math.log(4), math.log(2))
    expected = sum(w * e for w, e in zip(weights, entropies, strict=True)) / 4
    loss = distance_weighted_loss(logits, MASKS, torch.ones_like(MASKS), DISTANCE)
    assert loss.item() == pytest.approx(expected)


def test_ignored_pixels_count_neither_in_the_mean_nor_in_the_furthest_distance() -> None:
    logits = torch.logit(row(0.5, 0.25, 0.75, 0.5))
    cut = [tensor[..., :3] for tensor in (logits, MASKS, torch.ones_like(MASKS), DISTANCE)]
    loss = distance_weighted_loss(logits, MASKS, row(1.0, 1.0, 1.0, 0.0), DISTANCE)
    torch.testing.assert_close(loss, distance_weighted_loss(*cut))


def test_a_tile_of_one_class_is_plain_cross_entropy() -> None:
    logits, masks = torch.randn(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)
    loss = distance_weighted_loss(logits, masks, 1 - masks, masks)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, masks))


def test_a_mistake_at_the_boundary_costs_twice_one_far_from_it() -> None:
    right = 20 * (2 * MASKS - 1)
    costs = []
    for pixel in (1, 3):
        logits = right.clone()
        logits[..., pixel] *= -1
        loss = distance_weighted_loss(logits, MASKS, torch.ones_like(MASKS), DISTANCE)
        costs.append(loss.item())
    assert costs[0] == pytest.approx(2 * costs[1])

import numpy as np
import pytest
import torch

from salt.dataset import signed_distance
from salt.losses.boundary import boundary_loss


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_the_value_is_the_mean_of_probability_times_distance() -> None:
    logits = torch.logit(row(0.5, 0.25, 0.75))
    distance = row(-0.2, 0.0, 0.4)
    expected = (0.5 * -0.2 + 0.25 * 0 + 0.75 * 0.4) / 3
    loss = boundary_loss(logits, distance, torch.ones(1, 1, 1, 3))
    assert loss.item() == pytest.approx(expected)


def test_ignored_pixels_are_left_out_of_the_mean() -> None:
    logits = torch.logit(row(0.5, 0.25, 0.75))
    loss = boundary_loss(logits, row(-0.2, 0.0, 0.4), row(1.0, 1.0, 0.0))
    assert loss.item() == pytest.approx(0.5 * -0.2 / 2)


def test_a_right_answer_is_negative_and_a_wrong_one_positive() -> None:
    mask = torch.zeros(20, 20)
    mask[4:14, 6:18] = 1
    distance = torch.from_numpy(signed_distance(mask.numpy(), np.zeros(mask.shape)))[None, None]
    logits = 20 * (2 * mask - 1)[None, None]
    valid = torch.ones_like(logits)
    assert boundary_loss(logits, distance, valid).item() < -0.002
    assert boundary_loss(-logits, distance, valid).item() > 0.002


def test_salt_predicted_further_outside_costs_more() -> None:
    mask = torch.zeros(20, 20)
    mask[:, :5] = 1
    distance = torch.from_numpy(signed_distance(mask.numpy(), np.zeros(mask.shape)))[None, None]

    def cost_of_column(column: int) -> float:
        logits = torch.full((1, 1, 20, 20), -20.0)
        logits[..., column] = 20
        return boundary_loss(logits, distance, torch.ones_like(logits)).item()

    assert cost_of_column(6) < cost_of_column(10) < cost_of_column(19)


def test_a_tile_of_one_class_costs_nothing() -> None:
    distance = torch.from_numpy(signed_distance(np.zeros((5, 5)), np.zeros((5, 5))))[None, None]
    assert boundary_loss(torch.randn(1, 1, 5, 5), distance, torch.ones(1, 1, 5, 5)).item() == 0

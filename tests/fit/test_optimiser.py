import pytest
import torch
from torch import nn

from salt.errors import TrainingError
from salt.fit.optimiser import (
    build_optimiser,
    freeze_encoder,
    normalise_gradients,
    parameter_groups,
    set_learning_rate,
)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 1)

    @property
    def image_encoder(self) -> nn.Module:
        return self.encoder


@pytest.fixture
def model() -> Network:
    return Network()


def same(found: list[nn.Parameter], expected: list[nn.Parameter]) -> bool:
    return [id(parameter) for parameter in found] == [id(parameter) for parameter in expected]


def test_weights_decay_and_biases_and_norms_do_not(model: Network) -> None:
    decayed, free = parameter_groups(model, weight_decay=0.3)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert same(decayed["params"], [model.encoder[0].weight, model.head.weight])
    assert same(
        free["params"],
        [model.encoder[0].bias, model.encoder[1].weight, model.encoder[1].bias, model.head.bias],
    )


def test_an_encoder_with_a_rate_of_its_own_has_its_own_groups(model: Network) -> None:
    groups = parameter_groups(model, weight_decay=0.3, encoder_rate=0.1)
    assert [group["rate_factor"] for group in groups] == [1.0, 1.0, 0.1, 0.1]
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0, 0.3, 0.0]
    assert same(groups[2]["params"], [model.encoder[0].weight])
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_learning_rate_of_the_encoder_is_its_share_of_the_others(model: Network) -> None:
    optimiser = build_optimiser("adamw", parameter_groups(model, 0.0, 0.1), 1.0, 0.9, True)
    set_learning_rate(optimiser, 0.02)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx(
        [0.02, 0.02, 2e-3, 2e-3]
    )


def test_adamw_steps_as_the_published_update_whatever_the_weights_memory_layout() -> None:
    """The kernel walks through memory: weight, gradient and moments must be laid out alike."""
    torch.manual_seed(0)
    network = nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last)
    optimiser = build_optimiser("adamw", parameter_groups(network, 0.1), 0.01, 0.9, True)
    expected = network.weight.detach().clone().double()
    mean, square = torch.zeros_like(expected), torch.zeros_like(expected)
    for step in range(1, 4):
        optimiser.zero_grad(set_to_none=True)
        network(torch.randn(2, 4, 8, 8)).square().sum().backward()
        gradient = network.weight.grad.double()
        optimiser.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
        torch.testing.assert_close(network.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("found_inf", [False, True])
def test_adamw_leaves_a_step_out_if_a_scaled_gradient_overflowed(found_inf: bool) -> None:
    """Gradients are unscaled and clipped before the step, and must not be unscaled again."""
    states = []
    for scaled in (False, True):
        torch.manual_seed(0)
        network = nn.Linear(3, 2)
        start = network.weight.detach().clone()
        optimiser = build_optimiser("adamw", parameter_groups(network, 0.1), 0.01, 0.9, True)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        loss = network(torch.ones(4, 3)).square().sum()
        scaler.scale(loss).backward()
        if scaled and found_inf:
            network.weight.grad[0, 0] = torch.inf
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
        states.append(network.weight.detach().clone())
    assert torch.equal(states[1], start if found_inf else states[0])
    assert not torch.equal(states[0], start)
    taken = [float(state["step"]) for state in optimiser.state.values()]
    assert set(taken) == {0.0 if found_inf else 1.0}


def test_a_network_without_an_encoder_cannot_slow_it() -> None:
    with pytest.raises(TrainingError, match="Linear has no encoder of its own; expected one"):
        parameter_groups(nn.Linear(2, 1), 0.0, encoder_rate=0.5)


def test_a_frozen_encoder_neither_learns_nor_counts_statistics(model: Network) -> None:
    model.train()
    freeze_encoder(model, frozen=True)
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    assert not model.encoder[1].training
    assert model.head.weight.requires_grad and model.head.training
    freeze_encoder(model, frozen=False)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.encoder[1].training


def test_each_gradient_is_divided_by_its_length_and_zero_stays_zero(model: Network) -> None:
    model.encoder[0].bias.grad = torch.tensor([3.0, 0.0, 4.0, 0.0])
    model.head.bias.grad = torch.zeros(1)
    normalise_gradients(model.parameters())
    torch.testing.assert_close(model.encoder[0].bias.grad, torch.tensor([0.6, 0.0, 0.8, 0.0]))
    assert model.head.bias.grad.item() == 0
    assert model.head.weight.grad is None


def test_two_steps_of_sgd_with_nesterov_momentum_are_those_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    groups = [{"params": [weight], "weight_decay": 0.0, "rate_factor": 1.0}]
    optimiser = build_optimiser("sgd", groups, 0.1, momentum=0.5, nesterov=True)
    value, velocity = 1.0, 0.0
    for gradient in (2.0, -1.0):
        weight.grad = torch.tensor([gradient])
        optimiser.step()
        velocity = 0.5 * velocity + gradient
        value -= 0.1 * (gradient + 0.5 * velocity)
        assert weight.item() == pytest.approx(value)

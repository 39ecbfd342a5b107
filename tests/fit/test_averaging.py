import pytest
import torch
from torch import nn

from salt.fit.averaging import EpochAverage, MovingAverage, recomputed_batch_norm


@pytest.fixture
def model() -> nn.BatchNorm1d:
    """Weight 0; running mean 0; an integer count of batches."""
    module = nn.BatchNorm1d(1)
    nn.init.zeros_(module.weight)
    return module


def test_two_updates_are_those_by_hand(model: nn.BatchNorm1d) -> None:
    average = MovingAverage(model, decay=0.2)
    nn.init.ones_(model.weight)
    average.update(model)  # decay (1 + 1) / (10 + 1), still below 0.2
    assert average.shadow["weight"].item() == pytest.approx(9 / 11)
    average.update(model)  # (1 + 2) / (10 + 2) is above 0.2
    assert average.shadow["weight"].item() == pytest.approx(0.2 * 9 / 11 + 0.8)


def test_it_starts_at_the_model(model: nn.BatchNorm1d) -> None:
    assert MovingAverage(model, decay=0.9).shadow["weight"].item() == 0


def test_batch_statistics_are_averaged_and_counts_copied(model: nn.BatchNorm1d) -> None:
    average = MovingAverage(model, decay=0.9)
    model.running_mean.fill_(11.0)
    model.num_batches_tracked.fill_(5)
    average.update(model)
    assert average.shadow["running_mean"].item() == pytest.approx(9)
    assert average.shadow["num_batches_tracked"].item() == 5


def test_the_shadow_is_apart_from_the_model(model: nn.BatchNorm1d) -> None:
    average = MovingAverage(model, decay=0.9)
    nn.init.ones_(model.weight)
    assert average.shadow["weight"].item() == 0
    average.update(model)
    assert model.weight.item() == 1
    assert not average.shadow["weight"].requires_grad


def test_the_mean_over_epochs_is_the_one_by_hand(model: nn.BatchNorm1d) -> None:
    average = EpochAverage(model)
    for value in (3.0, 5.0, 10.0):
        nn.init.constant_(model.weight, value)
        model.num_batches_tracked.fill_(int(value))
        average.update(model.state_dict())
    assert average.mean["weight"].item() == pytest.approx(6)
    assert average.mean["num_batches_tracked"].item() == 10
    assert average.epochs == 3


def test_statistics_are_recomputed_as_the_mean_over_batches_and_momentum_returns() -> None:
    model = nn.Sequential(nn.BatchNorm1d(1, momentum=0.3), nn.Dropout(0.5))
    model[0].running_mean.fill_(99.0)
    with recomputed_batch_norm(model):
        assert not model[1].training
        for values in ([0.0, 2.0], [4.0, 10.0]):
            model(torch.tensor(values)[:, None])
    assert model[0].running_mean.item() == pytest.approx((1 + 7) / 2)
    assert model[0].running_var.item() == pytest.approx((2 + 18) / 2)
    assert model[0].momentum == 0.3
    assert not model[0].training


def test_statistics_of_frozen_layers_stay_as_they_are() -> None:
    frozen, without_parameters = nn.BatchNorm1d(1), nn.BatchNorm1d(1, affine=False)
    frozen.requires_grad_(False).running_mean.fill_(0.5)
    model = nn.Sequential(frozen, without_parameters)
    with recomputed_batch_norm(model):
        model(torch.tensor([[2.5], [4.5]]))
    assert frozen.running_mean.item() == 0.5
    assert frozen.num_batches_tracked.item() == 0
    assert without_parameters.running_mean.item() == pytest.approx(3, rel=1e-4)

"""Averages of weights: exponential over steps, equal over epochs."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn


class MovingAverage:
    """Shadow of a model's floating-point state: shadow = d * shadow + (1 - d) * current.

    The decay warms up as min(decay, (1 + t) / (10 + t)) (Kingma's and TensorFlow's rule), so
    that short runs are not dominated by the random start. Batch-norm statistics are
    averaged too; integer state is copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = _copied(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the shadow towards the model's present state."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        _move(self.shadow, model.state_dict(), 1 - decay)


class EpochAverage:
    """Equal mean of the weights at epochs' ends: SWA (Izmailov et al. 2018, arXiv:1803.05407).

    The mean of batch-norm statistics is not that of the mean weights: recompute them with
    `recomputed_batch_norm` before use.
    """

    def __init__(self, model: nn.Module) -> None:
        self.epochs = 0
        self.mean = _copied(model.state_dict())

    @torch.no_grad()
    def update(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take in one more epoch's weights."""
        self.epochs += 1
        _move(self.mean, state, 1 / self.epochs)


@contextlib.contextmanager
def recomputed_batch_norm(model: nn.Module) -> Iterator[None]:
    """Collect batch-norm statistics anew from the batches that the model is run on inside.

    They become the plain mean over these batches. Layers that are frozen, none of whose parameters
    requires a gradient, keep theirs. All else is in evaluation mode.
    """
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not _frozen(layer)
    ]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative instead of moving average
        layer.train()
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.eval()


def _frozen(layer: nn.Module) -> bool:
    gradients = [parameter.requires_grad for parameter in layer.parameters()]
    return bool(gradients) and not any(gradients)  # a layer without parameters learns statistics


def _copied(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _move(
    average: dict[str, torch.Tensor], state: Mapping[str, torch.Tensor], share: float
) -> None:
    for name, value in state.items():
        if value.is_floating_point():
            average[name].lerp_(value, share)
        else:
            average[name].copy_(value)

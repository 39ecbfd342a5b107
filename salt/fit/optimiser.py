"""Optimisers and what is done to parameters and gradients around them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from salt.errors import TrainingError


def build_optimiser(
    name: str, groups: list[dict[str, Any]], learning_rate: float, momentum: float, nesterov: bool
) -> torch.optim.Optimizer:
    """Return `adamw` (Loshchilov and Hutter 2019, arXiv:1711.05101) or `sgd` with momentum.

    AdamW is the fused one: on two CPU cores its part of a step falls from 24 to 14 ms.
    """
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=nesterov)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def parameter_groups(
    model: nn.Module, weight_decay: float, encoder_rate: float = 1.0
) -> list[dict[str, Any]]:
    """Split parameters: decay for weights, none for biases, norms and other vectors.

    Args:
        encoder_rate: factor on the learning rate of `encoder_of(model)`, kept as `rate_factor` of
            its groups; other than 1 it gets groups of its own.
    """
    apart = encoder_rate != 1
    encoder = {id(parameter) for parameter in encoder_of(model).parameters()} if apart else set()
    groups = []
    for factor, in_encoder in ((1.0, False), (encoder_rate, True)):
        for decay, is_vector in ((weight_decay, False), (0.0, True)):
            chosen = [
                parameter
                for parameter in model.parameters()
                if (id(parameter) in encoder) == in_encoder and (parameter.ndim <= 1) == is_vector
            ]
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "rate_factor": factor})
    return groups


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set every group's learning rate, times its `rate_factor`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["rate_factor"]


def encoder_of(model: nn.Module) -> nn.Module:
    """Return the `image_encoder` of a network.

    Raises:
        TrainingError: it has no such part.
    """
    encoder = getattr(model, "image_encoder", None)
    if encoder is None:
        raise TrainingError(
            f"{type(model).__name__} has no encoder of its own; expected one to slow or freeze. "
            "Set train.encoder_learning_rate to 1 and train.freeze_encoder_epochs to 0."
        )
    return encoder


def freeze_encoder(model: nn.Module, frozen: bool) -> None:
    """Stop or resume the encoder's learning, its batch-norm statistics and dropout included.

    To be called after `model.train()`, which would wake it.
    """
    encoder = encoder_of(model)
    encoder.requires_grad_(not frozen)
    encoder.train(not frozen)


def normalise_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Divide each tensor's gradient by its own L2 norm; a zero gradient stays zero.

    Every layer then moves at the pace of the learning rate, whatever its gradient's size
    (Yu et al. 2017, arXiv:1707.04822, with a parameter tensor as block).
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(parameter.grad.norm().clamp(min=1e-12))

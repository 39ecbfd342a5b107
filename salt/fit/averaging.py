"""Exponential moving average of weights."""

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
        self.shadow = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the shadow towards the model's present state."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value, 1 - decay)
            else:
                self.shadow[name].copy_(value)

"""What the training loop fits, and by which settings."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Report = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class FitConfig:
    """How to train; each name is that of the section `train` of params.yaml.

    An epoch's score is the mean over the last `score_window` validations: a single one on few
    tiles is a matter of luck, and the best of many the more so. Epochs before there are as many
    have none; in a run of fewer epochs only the last one has a score. The best epoch is the
    result, `early_stopping` epochs without a better one end the run (0: none do), and the schedule
    `plateau` goes by the same scores. Without a validation score the last epoch's weights are the
    result; with `swa_start` below 1 it is the mean of the weights of all epochs that end behind
    that share of training. With `snapshots`, which needs the schedule `warm_restarts`, it is the
    last epoch's weights whatever the score; those at the ends of the cycles before it are kept as
    well.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    optimiser: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = True
    normalise_gradients: bool = False
    schedule: str = "cosine"
    warmup_share: float = 0.1
    cycles: int = 4
    snapshots: int = 0
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    accumulate: int = 1
    gradient_clip: float = 1.0
    encoder_learning_rate: float = 1.0
    freeze_encoder_epochs: int = 0
    ema_decay: float = 0.0
    swa_start: float = 1.0
    early_stopping: int = 0
    score_window: int = 1
    precision: str = "fp32"
    compile: bool = False

    @property
    def first_averaged(self) -> int:
        """The first epoch, from 0, that ends behind `swa_start`: the last one at the latest."""
        return min(math.floor(self.swa_start * self.epochs), self.epochs - 1)


class Task(Protocol):
    """One thing to fit."""

    name: str

    def steps(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int) -> Iterable[Any]:
        """Yield the epoch's batches (with `to` and `ids`), the same ones whenever asked."""

    def loss(self, model: Any, batch: Any, share: float) -> torch.Tensor:
        """Run the model on a batch (under autocast) and return its loss.

        `share` is the share of training behind it: 0 in the first epoch, 1 in the last.
        """

    def validate(self, model: Any) -> dict[str, float]:
        """Return `validation_score` (higher is better) and more, or nothing."""

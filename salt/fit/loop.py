"""The training loop: epochs with exact resume, moving average, early stopping.

What is trained is a `Task` (see salt/fit/segmentation.py, pretraining.py, refiner.py); this
file knows only batches, a loss and, possibly, a validation score.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from salt.errors import TrainingError
from salt.fit import checkpoint
from salt.fit.averaging import MovingAverage
from salt.fit.schedule import warmup_cosine

Report = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class FitConfig:
    """How to train; `early_stopping` epochs without a better score end it, 0 never does.

    Without a validation score the last epoch's weights are the result.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    warmup_share: float = 0.1
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    early_stopping: int = 0
    precision: str = "fp32"


class Task(Protocol):
    """One thing to fit."""

    name: str

    def steps(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int) -> Iterable[Any]:
        """Yield the epoch's batches (with `to` and `ids`), the same ones whenever asked."""

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Run the model on a batch (under autocast) and return its loss."""

    def validate(self, model: Any) -> dict[str, float]:
        """Return `validation_score` (higher is better) and more, or nothing."""


@dataclass
class _Progress:
    epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


class Fit:
    """A run of `task` on `model`, resumable from `folder` after every epoch."""

    def __init__(
        self, model: nn.Module, task: Task, config: FitConfig, folder: Path, device: torch.device
    ) -> None:
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.task, self.config, self.folder, self.device = task, config, folder, device
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.model, config.weight_decay), lr=config.learning_rate
        )
        self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        self.best: dict[str, torch.Tensor] = {}
        self.progress = _Progress()

    def run(self, report: Report) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
        """Train what is left to train; return the resulting weights and the history by epoch.

        Raises:
            TrainingError: a loss is not finite; the last good epoch stays on disk.
        """
        self._resume()
        while self.progress.epoch < self.config.epochs and not self._stopped_early():
            started = time.monotonic()
            row = self._train_epoch(self.progress.epoch)
            row |= self._validate()
            self.progress.history.append(row)
            self.progress.epoch += 1
            self._save()
            report({k: v for k, v in row.items() if k != "epoch"}, int(row["epoch"]))
            self._say(row, time.monotonic() - started)
        return self.best or self._current(), pd.DataFrame(self.progress.history)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self.model.train()
        steps, total = self.task.steps(), 0.0
        rate = 0.0
        progress = tqdm(
            self.task.batches(epoch),
            total=steps,
            desc=f"{self.task.name} epoch {epoch + 1}/{self.config.epochs}",
            unit="batch",
            mininterval=1.0,
            leave=False,
            disable=None,  # where nobody watches, the line per epoch is enough
        )
        for index, batch in enumerate(progress):
            rate = self._set_rate(epoch * steps + index, steps * self.config.epochs)
            total += self._step(batch.to(self.device), epoch)
        return {"epoch": epoch, "learning_rate": rate, "train_loss": total / max(steps, 1)}

    def _step(self, batch: Any, epoch: int) -> float:
        with autocast(self.device, self.config.precision):
            loss = self.task.loss(self.model, batch)
        value = loss.item()
        self._require_finite("loss", value, batch, epoch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self._require_finite("gradient's norm", norm.item(), batch, epoch)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.model)
        return value

    def _require_finite(self, name: str, value: float, batch: Any, epoch: int) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.task.name}: the {name} is {value} in epoch {epoch + 1} on tiles "
                f"{', '.join(batch.ids)}; expected a finite number. Lower the learning rate or "
                f"look at these tiles; the last good epoch is kept in {self.folder}."
            )

    def _set_rate(self, step: int, total: int) -> float:
        rate = self.config.learning_rate * warmup_cosine(step, total, self.config.warmup_share)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _validate(self) -> dict[str, float]:
        with self._averaged_weights():
            self.model.eval()
            scores = self.task.validate(self.model)
        score = scores.get("validation_score", math.nan)
        if score > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = score, self.progress.epoch
            self.best = {name: value.clone() for name, value in self._current().items()}
        return scores

    def _current(self) -> dict[str, torch.Tensor]:
        """The weights inference uses: the average where there is one."""
        return self.average.shadow if self.average is not None else self.model.state_dict()

    @contextlib.contextmanager
    def _averaged_weights(self) -> Any:
        if self.average is None:
            yield
            return
        trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.shadow)
        try:
            yield
        finally:
            self.model.load_state_dict(trained)

    def _stopped_early(self) -> bool:
        patience, progress = self.config.early_stopping, self.progress
        return bool(
            patience
            and progress.best_epoch >= 0
            and progress.epoch - 1 - progress.best_epoch >= patience
        )

    def _save(self) -> None:
        tensors = checkpoint.prefixed("model.", self.model.state_dict())
        tensors |= checkpoint.prefixed("optimiser.", checkpoint.optimiser_tensors(self.optimiser))
        tensors |= checkpoint.prefixed("random.", checkpoint.random_states())
        tensors |= checkpoint.prefixed("best.", self.best)
        counters = dict(vars(self.progress))
        counters["best_score"] = repr(self.progress.best_score)  # JSON has no infinity
        if self.average is not None:
            tensors |= checkpoint.prefixed("average.", self.average.shadow)
            counters["updates"] = self.average.updates
        checkpoint.save_state(self.folder, tensors, counters)

    def _resume(self) -> None:
        saved = checkpoint.load_state(self.folder)
        if saved is None:
            return
        tensors, counters = saved
        self.model.load_state_dict(checkpoint.unprefixed("model.", tensors))
        checkpoint.restore_optimiser(self.optimiser, checkpoint.unprefixed("optimiser.", tensors))
        checkpoint.restore_random_states(checkpoint.unprefixed("random.", tensors))
        self.best = {
            name: value.to(self.device)
            for name, value in checkpoint.unprefixed("best.", tensors).items()
        }
        if self.average is not None:
            self.average.updates = counters.pop("updates")
            for name, value in checkpoint.unprefixed("average.", tensors).items():
                self.average.shadow[name].copy_(value)
        counters["best_score"] = float(counters["best_score"])
        self.progress = _Progress(**counters)
        print(
            f"{self.task.name}: continuing behind epoch {self.progress.epoch}/{self.config.epochs}",
            file=sys.stderr,
        )

    def _say(self, row: dict[str, float], seconds: float) -> None:
        left = (self.config.epochs - self.progress.epoch) * seconds / 60
        score = row.get("validation_score")
        print(
            f"{self.task.name} epoch {self.progress.epoch}/{self.config.epochs}: "
            f"loss {row['train_loss']:.4f}"
            + (f", validation score {score:.4f}" if score is not None else "")
            + f", {seconds:.0f} s, about {left:.0f} min left",
            file=sys.stderr,
            flush=True,
        )


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters: decay for weights, none for biases, norms and other vectors."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context that computes in bfloat16 if `precision` is `bf16`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

"""The training loop: epochs with exact resume, averaged weights, early stopping.

What is trained is a `Task` (see salt/fit/segmentation.py, pretraining.py, refinement.py); this
file knows only batches, a loss and, possibly, a validation score.
"""

import contextlib
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from salt.errors import TrainingError
from salt.fit import checkpoint
from salt.fit.averaging import EpochAverage, MovingAverage, recomputed_batch_norm
from salt.fit.devices import require_compiler
from salt.fit.optimiser import (
    build_optimiser,
    freeze_encoder,
    normalise_gradients,
    parameter_groups,
    set_learning_rate,
)
from salt.fit.processes import Processes
from salt.fit.schedule import plateau_factor, rate_factor, windowed_scores
from salt.fit.snapshots import Snapshots
from salt.fit.task import FitConfig, Report, Task
from salt.models.precision import autocast


@dataclass
class _Progress:
    epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


class Fit:
    """A run of `task` on `model`, resumable from `folder` after every epoch.

    Several `processes` each run it on their part of every batch and take the same steps.
    Behind a run `snapshots.states` are the weights at the ends of earlier cycles.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        config: FitConfig,
        folder: Path,
        processes: Processes,
    ) -> None:
        device = processes.device
        self.model = processes.prepared(model.to(device))
        self.model.to(memory_format=torch.channels_last)
        if config.compile:
            require_compiler()
            self.model.compile()  # in place: the weights keep their names
        self.task, self.config, self.folder = task, config, folder
        self.processes, self.device = processes, device
        groups = parameter_groups(self.model, config.weight_decay, config.encoder_learning_rate)
        self.optimiser = build_optimiser(
            config.optimiser, groups, config.learning_rate, config.momentum, config.nesterov
        )
        self.autocast = autocast(device, config.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        self.epoch_average = EpochAverage(self.model) if config.swa_start < 1 else None
        self.snapshots = Snapshots(
            config.snapshots, self._steps(config.epochs), config.warmup_share, config.cycles
        )
        self.best: dict[str, torch.Tensor] = {}
        self.summed: list[str] = []  # ids of the tiles whose gradients are summed
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
            if self.epoch_average and row["epoch"] >= self.config.first_averaged:
                self.epoch_average.update(self._current())
            self.progress.history.append(row)
            self.progress.epoch += 1
            if self.processes.first:
                self._save()
                report({k: v for k, v in row.items() if k != "epoch"}, int(row["epoch"]))
                self._say(row, time.monotonic() - started)
        return self._result(), pd.DataFrame(self.progress.history)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self.model.train()
        self.processes.reseed(epoch)
        self._freeze(epoch)
        steps, total = self.task.steps(), 0.0
        rate = 0.0
        progress = tqdm(
            self.task.batches(epoch),
            total=steps,
            desc=f"{self.task.name} epoch {epoch + 1}/{self.config.epochs}",
            unit="batch",
            mininterval=1.0,
            leave=False,
            # where nobody watches, the line per epoch is enough
            disable=None if self.processes.first else True,
        )
        for index, batch in enumerate(progress):
            rate = self._set_rate(epoch, index)
            total += self._step(batch.to(self.device), epoch, index)
        return {"epoch": epoch, "learning_rate": rate, "train_loss": total / max(steps, 1)}

    def _freeze(self, epoch: int) -> None:
        if self.config.freeze_encoder_epochs:
            freeze_encoder(self.model, frozen=epoch < self.config.freeze_encoder_epochs)

    def _step(self, batch: Any, epoch: int, index: int) -> float:
        """Add a batch's gradient; update the weights behind the last of those that go together."""
        together, steps = self.config.accumulate, self.task.steps()
        if index % together == 0:
            self.optimiser.zero_grad(set_to_none=True)
            self.summed = []
        self.summed += batch.ids
        with self.autocast:
            loss = self.task.loss(self.model, batch, epoch / max(self.config.epochs - 1, 1))
        value = self.processes.mean(loss)
        self._require_finite("loss", value, batch.ids, epoch)
        count = min(together, steps - index // together * together)  # an epoch's last are fewer
        self.scaler.scale(loss / count).backward()
        if (index + 1) % together == 0 or index + 1 == steps:
            self._update(epoch)
            if self._steps(epoch) + index // together in self.snapshots.steps:
                self.snapshots.keep(self._current())
        return value

    def _update(self, epoch: int) -> None:
        self.processes.average_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        if self.scaler.get_scale() <= 1:  # above, the scaler skips the step and halves the scale
            self._require_finite("gradient's norm", norm.item(), self.summed, epoch)
        if self.config.normalise_gradients:
            normalise_gradients(self.model.parameters())
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.model)

    def _require_finite(self, name: str, value: float, ids: list[str], epoch: int) -> None:
        if not math.isfinite(value):
            self.processes.refuse(
                f"{self.task.name}: the {name} is {value} in epoch {epoch + 1} on tiles "
                f"{', '.join(self.processes.joined(ids))}; expected a finite number. Look at these "
                "tiles, or lower the learning rate (changed settings start anew). The last good "
                f"epoch, for unchanged ones, is kept in {self.folder}."
            )

    def _set_rate(self, epoch: int, index: int) -> float:
        config = self.config
        factor = rate_factor(
            config.schedule,
            self._steps(epoch) + index // config.accumulate,
            self._steps(config.epochs),
            warmup_share=config.warmup_share,
            cycles=config.cycles,
        )
        if config.schedule == "plateau":
            scores = self._scores()
            factor *= plateau_factor(scores, config.plateau_patience, config.plateau_factor)
        rate = config.learning_rate * factor
        set_learning_rate(self.optimiser, rate)
        return rate

    def _steps(self, epochs: int) -> int:
        """The optimiser's steps in so many epochs."""
        return epochs * math.ceil(self.task.steps() / self.config.accumulate)

    def _validate(self) -> dict[str, float]:
        with self._averaged_weights():
            self.model.eval()
            scores = self.task.validate(self.model) if self.processes.first else {}
        scores = self.processes.told_by_first(scores)
        if self.config.schedule == "plateau" and "validation_score" not in scores:
            self.processes.refuse(
                f"{self.task.name}: train.schedule is plateau, but there are no validation tiles; "
                "expected some. Raise train.validation_share or choose another schedule."
            )
        windowed = self._scores(scores.get("validation_score", math.nan))
        if windowed and windowed[-1] > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = windowed[-1], self.progress.epoch
            self.best = {name: value.clone() for name, value in self._current().items()}
        return scores

    def _scores(self, *latest: float) -> list[float]:
        """Return the score of each epoch from the one that fills the window, up to the latest."""
        scores = [row.get("validation_score", math.nan) for row in self.progress.history]
        window = min(self.config.score_window, self.config.epochs)
        return windowed_scores([*scores, *latest], window)

    def _current(self) -> dict[str, torch.Tensor]:
        """The weights inference uses: the average where there is one."""
        return self.average.shadow if self.average is not None else self.model.state_dict()

    def _result(self) -> dict[str, torch.Tensor]:
        """The mean of the epochs' weights, else the best epoch's, else the last's.

        With snapshots it is the last's: they are what cycles end with, chosen by no score.
        """
        if self.config.snapshots:
            return self._current()
        if self.epoch_average is None or not self.epoch_average.epochs:
            return self.best or self._current()
        self.model.load_state_dict(self.epoch_average.mean)
        self._freeze(self.progress.epoch - 1)  # as in the last epoch, in a continued run too
        with torch.no_grad(), recomputed_batch_norm(self.model):
            for batch in self.task.batches(self.config.epochs):  # drawn anew
                with self.autocast:
                    self.task.loss(self.model, batch.to(self.device), 1.0)
        if self.processes.first:
            score = self.task.validate(self.model).get("validation_score")
            print(
                f"{self.task.name}: mean of {self.epoch_average.epochs} epochs' weights"
                + (f", validation score {score:.4f}" if score is not None else ""),
                file=sys.stderr,
            )
        return self.model.state_dict()

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
        tensors |= checkpoint.prefixed("snapshot.", self.snapshots.tensors())
        counters = dict(vars(self.progress))
        counters["best_score"] = repr(self.progress.best_score)  # JSON has no infinity
        if self.average is not None:
            tensors |= checkpoint.prefixed("average.", self.average.shadow)
            counters["updates"] = self.average.updates
        if self.epoch_average is not None:
            tensors |= checkpoint.prefixed("epoch_average.", self.epoch_average.mean)
            counters["averaged_epochs"] = self.epoch_average.epochs
        counters["scaler"] = self.scaler.state_dict()
        checkpoint.save_state(self.folder, tensors, counters)

    def _resume(self) -> None:
        saved = checkpoint.load_state(self.folder)
        self._require_same_start(saved[1]["epoch"] if saved else 0)
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
        self.snapshots.restore(checkpoint.unprefixed("snapshot.", tensors))
        if self.average is not None:
            self.average.updates = counters.pop("updates")
            for name, value in checkpoint.unprefixed("average.", tensors).items():
                self.average.shadow[name].copy_(value)
        if self.epoch_average is not None:
            self.epoch_average.epochs = counters.pop("averaged_epochs")
            for name, value in checkpoint.unprefixed("epoch_average.", tensors).items():
                self.epoch_average.mean[name].copy_(value)
        if scaler := counters.pop("scaler"):
            self.scaler.load_state_dict(scaler)
        counters["best_score"] = float(counters["best_score"])
        self.progress = _Progress(**counters)
        if self.processes.first:
            done = f"{self.progress.epoch}/{self.config.epochs}"
            print(f"{self.task.name}: continuing behind epoch {done}", file=sys.stderr)

    def _require_same_start(self, epoch: int) -> None:
        first = self.processes.told_by_first({"epoch": epoch})["epoch"]
        if epoch != first:
            raise TrainingError(
                f"{self.task.name}: process {self.processes.rank} would continue behind epoch "
                f"{epoch}, the first one behind {first}; expected the same state in {self.folder}. "
                "Let all hosts work in one shared folder."
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

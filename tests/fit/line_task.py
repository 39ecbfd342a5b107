"""A task of a few numbers for the training loop: fit a line to points."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.task import FitConfig

CPU = torch.device("cpu")
CONFIG = FitConfig(epochs=4, learning_rate=0.05, weight_decay=0.01)


@dataclass
class Points:
    inputs: torch.Tensor
    targets: torch.Tensor
    ids: list[str]

    def to(self, device: torch.device) -> "Points":
        return self


class Line:
    """Fit a line to points; a script may spoil an epoch, score it or break it off."""

    name = "line"

    def __init__(self, scores: list[float] | None = None) -> None:
        self.scores = scores
        self.validated: list[dict[str, torch.Tensor]] = []  # the weights each epoch was scored with
        self.shares: list[float] = []  # of training, at each batch
        self.spoilt_epoch: int | None = None
        self.broken_epoch: int | None = None

    def steps(self) -> int:
        return 3

    def batches(self, epoch: int):
        for step in range(self.steps()):
            draw = torch.Generator().manual_seed(10 * epoch + step)
            inputs = torch.randn(8, 2, generator=draw)
            targets = inputs @ torch.tensor([[2.0], [-1.0]]) + 0.5
            if epoch == self.spoilt_epoch and step == 1:
                targets[3] = torch.nan
            if epoch == self.broken_epoch and step == 1:
                raise KeyboardInterrupt
            yield Points(inputs, targets, [f"{epoch}-{step}-{i}" for i in range(8)])

    def loss(self, model: nn.Module, batch: Points, share: float) -> torch.Tensor:
        self.shares.append(share)
        return ((model(batch.inputs) - batch.targets) ** 2).mean()

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        self.validated.append({key: t.clone() for key, t in model.state_dict().items()})
        if self.scores is None:
            return {}
        return {"validation_score": self.scores[len(self.validated) - 1]}


class Overflowing(Line):
    """Gradients that are no numbers, in the first steps or in all."""

    def __init__(self, steps: float) -> None:
        super().__init__()
        self.overflows = steps

    def loss(self, model: nn.Module, batch: Points, share: float) -> torch.Tensor:
        error = super().loss(model, batch, share)
        spoilt = len(self.shares) <= self.overflows
        return error + (0 * error).sqrt() if spoilt else error  # 0, with an infinite slope


class LineModel(nn.Module):
    """Two layers with batch norm and dropout: state of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.2))
        self.head = nn.Linear(4, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(inputs))

    @property
    def image_encoder(self) -> nn.Module:
        """What training may slow or freeze."""
        return self.encoder


def line_model() -> LineModel:
    torch.manual_seed(0)
    return LineModel()


def run(folder: Path, task: Line | None = None, config: FitConfig = CONFIG, reports=None):
    fit = Fit(line_model(), task or Line(), config, folder, Processes(CPU))
    record = (lambda *report: reports.append(report)) if reports is not None else lambda *_: None
    return fit.run(record)


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []

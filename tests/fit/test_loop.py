"""The training loop on a model of a few numbers; whole stages are in test_resume.py."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from salt.errors import TrainingError
from salt.fit import checkpoint
from salt.fit.loop import Fit, FitConfig, autocast, parameter_groups
from salt.fit.schedule import warmup_cosine

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

    def loss(self, model: nn.Module, batch: Points) -> torch.Tensor:
        return ((model(batch.inputs) - batch.targets) ** 2).mean()

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        self.validated.append({key: t.clone() for key, t in model.state_dict().items()})
        if self.scores is None:
            return {}
        return {"validation_score": self.scores[len(self.validated) - 1]}


def line_model() -> nn.Sequential:
    """Two layers with batch norm and dropout: state of every kind."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 1))


def run(folder: Path, task: Line | None = None, config: FitConfig = CONFIG, reports=None):
    fit = Fit(line_model(), task or Line(), config, folder, CPU)
    record = (lambda *report: reports.append(report)) if reports is not None else lambda *_: None
    return fit.run(record)


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_a_line_is_learnt(tmp_path: Path) -> None:
    fit = Fit(nn.Linear(2, 1), Line(), replace(CONFIG, epochs=80, weight_decay=0.0), tmp_path, CPU)
    state, history = fit.run(lambda *_: None)
    torch.testing.assert_close(state["weight"], torch.tensor([[2.0, -1.0]]), atol=0.05, rtol=0)
    torch.testing.assert_close(state["bias"], torch.tensor([0.5]), atol=0.05, rtol=0)
    assert history["train_loss"].iloc[-1] < 0.01


def test_every_epoch_is_recorded_and_reported(tmp_path: Path) -> None:
    reports: list = []
    _, history = run(tmp_path, Line(scores=[0.1, 0.2, 0.3, 0.4]), reports=reports)
    assert history["epoch"].tolist() == [epoch for _, epoch in reports] == [0, 1, 2, 3]
    assert reports[2][0] == history.drop(columns="epoch").iloc[2].to_dict()
    assert reports[0][0].keys() == {"learning_rate", "train_loss", "validation_score"}


def test_the_learning_rate_of_an_epoch_is_its_last_steps(tmp_path: Path) -> None:
    _, history = run(tmp_path)
    expected = [0.05 * warmup_cosine(3 * epoch + 2, 12, 0.1) for epoch in range(4)]
    assert history["learning_rate"].tolist() == pytest.approx(expected)


def test_no_epochs_return_the_model_as_it_started(tmp_path: Path) -> None:
    state, history = run(tmp_path, config=replace(CONFIG, epochs=0))
    assert_same(state, line_model().state_dict())
    assert history.empty


def test_without_a_score_the_last_epochs_weights_are_the_result(tmp_path: Path) -> None:
    task = Line()
    state, _ = run(tmp_path, task)
    assert_same(state, task.validated[-1])


def test_the_best_epochs_weights_are_the_result(tmp_path: Path) -> None:
    task = Line(scores=[0.1, 0.5, 0.3, 0.2])
    state, history = run(tmp_path, task)
    assert_same(state, task.validated[1])
    assert history["validation_score"].tolist() == task.scores


def test_of_equal_scores_the_first_counts(tmp_path: Path) -> None:
    task = Line(scores=[0.5, 0.5, 0.5, 0.5])
    assert_same(run(tmp_path, task)[0], task.validated[0])


def test_early_stopping_waits_its_epochs_and_keeps_the_best(tmp_path: Path) -> None:
    task = Line(scores=[0.1, 0.5, 0.4, 0.3, 0.9, 0.9])
    state, history = run(tmp_path, task, replace(CONFIG, epochs=6, early_stopping=2))
    assert len(history) == 4  # the third score in a row that is not better than 0.5 never comes
    assert_same(state, task.validated[1])


def test_without_early_stopping_the_run_goes_to_its_end(tmp_path: Path) -> None:
    _, history = run(tmp_path, Line(scores=[0.9, 0.1, 0.1, 0.1]))
    assert len(history) == 4


def test_validation_and_result_use_the_moving_average(tmp_path: Path) -> None:
    config = replace(CONFIG, ema_decay=0.9)
    averaged, trained = Line(), Line()
    state, _ = run(tmp_path / "a", averaged, config)
    plain, _ = run(tmp_path / "b", trained)
    assert_same(state, averaged.validated[-1])
    assert not torch.equal(state["0.weight"], plain["0.weight"])
    saved = checkpoint.unprefixed("model.", checkpoint.load_state(tmp_path / "a")[0])
    assert_same(saved, plain)  # the average follows training and does not disturb it


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learning_rate", 0.1),
        ("weight_decay", 5.0),
        ("warmup_share", 0.9),
        ("gradient_clip", 1e-3),
        ("ema_decay", 0.5),
        ("precision", "bf16"),
    ],
)
def test_each_setting_changes_the_weights(tmp_path: Path, setting: str, value) -> None:
    default, _ = run(tmp_path / "default")
    changed, _ = run(tmp_path / "changed", config=replace(CONFIG, **{setting: value}))
    assert not torch.equal(default["0.weight"], changed["0.weight"])


@pytest.mark.parametrize("broken_epoch", [0, 1, 3])
@pytest.mark.parametrize(
    ("config", "scores"),
    [
        (CONFIG, None),
        (replace(CONFIG, ema_decay=0.9), None),
        (replace(CONFIG, ema_decay=0.9, early_stopping=2), [0.1, 0.5, 0.4, 0.2]),
        (replace(CONFIG, precision="bf16"), [0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_a_run_broken_off_and_continued_equals_an_undisturbed_one(
    tmp_path: Path, config: FitConfig, scores: list[float] | None, broken_epoch: int
) -> None:
    expected, whole_history = run(tmp_path / "whole", Line(scores), config)
    broken = Line(scores)
    broken.broken_epoch = broken_epoch
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", broken, config)
    rest = Line(scores[broken_epoch:] if scores else None)
    state, history = run(tmp_path / "broken", rest, config)
    assert len(rest.validated) == 4 - broken_epoch
    assert_same(state, expected)
    pd.testing.assert_frame_equal(history, whole_history)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    expected, _ = run(tmp_path)
    again = Line()
    again.broken_epoch = 0
    state, history = run(tmp_path, again)
    assert_same(state, expected)
    assert len(history) == 4


def test_a_loss_that_is_no_number_names_the_tiles_and_leaves_the_last_good_epoch(
    tmp_path: Path,
) -> None:
    task = Line()
    task.spoilt_epoch = 2
    with pytest.raises(TrainingError, match=r"line: the loss is nan in epoch 3 on tiles 2-1-0, "):
        run(tmp_path, task)
    tensors, counters = checkpoint.load_state(tmp_path)
    assert counters["epoch"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert_same(run(tmp_path)[0], run(tmp_path / "undisturbed")[0])


def test_a_gradient_that_is_no_number_is_refused_before_it_reaches_the_weights(
    tmp_path: Path,
) -> None:
    class Steep(Line):
        def loss(self, model: nn.Module, batch: Points) -> torch.Tensor:
            error = super().loss(model, batch)
            return error + (0 * error).sqrt()  # 0, with an infinite slope

    with pytest.raises(TrainingError, match=r"the gradient's norm is nan in epoch 1 on tiles 0-0-"):
        run(tmp_path, Steep())
    assert checkpoint.load_state(tmp_path) is None


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    model = line_model()
    decayed, free = parameter_groups(model, weight_decay=0.3)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model[0].weight), id(model[3].weight)]
    expected = [model[0].bias, model[1].weight, model[1].bias, model[3].bias]
    assert [id(p) for p in free["params"]] == [id(p) for p in expected]


def test_precision_is_that_of_the_matrix_products() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(CPU, precision):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype

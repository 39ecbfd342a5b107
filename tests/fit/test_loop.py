"""The training loop on a model of a few numbers; whole stages are in test_resume.py."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from salt.errors import TrainingError
from salt.fit import checkpoint
from salt.fit.loop import Fit
from salt.fit.schedule import one_cycle, warm_restarts, warmup_constant, warmup_cosine
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


class LineModel(nn.Module):
    """Two layers with batch norm and dropout: state of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.2))
        self.head = nn.Linear(4, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(inputs))


def line_model() -> LineModel:
    torch.manual_seed(0)
    return LineModel()


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
    assert not torch.equal(state["head.weight"], plain["head.weight"])
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
        ("optimiser", "sgd"),
        ("normalise_gradients", True),
        ("schedule", "constant"),
        ("schedule", "one_cycle"),
        ("schedule", "warm_restarts"),
        ("accumulate", 2),
        ("encoder_learning_rate", 0.1),
        ("freeze_encoder_epochs", 2),
        ("swa_start", 0.5),
    ],
)
def test_each_setting_changes_the_weights(tmp_path: Path, setting: str, value) -> None:
    default, _ = run(tmp_path / "default")
    changed, _ = run(tmp_path / "changed", config=replace(CONFIG, **{setting: value}))
    assert not torch.equal(default["head.weight"], changed["head.weight"])


@pytest.mark.parametrize(("setting", "value"), [("momentum", 0.5), ("nesterov", False)])
def test_each_setting_of_sgd_changes_the_weights(tmp_path: Path, setting: str, value) -> None:
    config = replace(CONFIG, optimiser="sgd")
    default, _ = run(tmp_path / "default", config=config)
    changed, _ = run(tmp_path / "changed", config=replace(config, **{setting: value}))
    assert not torch.equal(default["head.weight"], changed["head.weight"])


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("cosine", warmup_cosine),
        ("constant", warmup_constant),
        ("one_cycle", one_cycle),
        ("warm_restarts", lambda step, total, share: warm_restarts(step, total, share, cycles=2)),
    ],
)
def test_the_learning_rate_follows_the_schedule_in_steps_of_the_optimiser(
    tmp_path: Path, schedule: str, factor
) -> None:
    config = replace(CONFIG, schedule=schedule, cycles=2, accumulate=2)
    _, history = run(tmp_path, config=config)
    expected = [0.05 * factor(2 * epoch + 1, 8, 0.1) for epoch in range(4)]  # 3 batches: 2 steps
    assert history["learning_rate"].tolist() == pytest.approx(expected)


def test_on_a_plateau_of_the_score_the_learning_rate_falls(tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        epochs=6,
        schedule="plateau",
        warmup_share=0.0,
        plateau_patience=1,
        plateau_factor=0.1,
    )
    _, history = run(tmp_path, Line([0.5, 0.4, 0.3, 0.6, 0.6, 0.6]), config)
    expected = [0.05, 0.05, 0.05, 0.005, 0.005, 0.005]
    assert history["learning_rate"].tolist() == pytest.approx(expected)


def test_a_plateau_without_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="schedule is plateau, but there are no validation"):
        run(tmp_path, config=replace(CONFIG, schedule="plateau"))


def test_the_loss_is_told_the_share_of_training_behind_it(tmp_path: Path) -> None:
    task = Line()
    run(tmp_path, task)
    assert task.shares == pytest.approx([epoch / 3 for epoch in range(4) for _ in range(3)])


def test_accumulated_batches_step_as_their_union(tmp_path: Path) -> None:
    """Without batch norm and dropout, the mean of equal batches' gradients is their union's."""

    class Union(Line):
        def steps(self) -> int:
            return 1

        def batches(self, epoch: int):
            parts = list(Line().batches(epoch))
            inputs, targets = (
                torch.cat([p.inputs for p in parts]),
                torch.cat([p.targets for p in parts]),
            )
            yield Points(inputs, targets, [])

    states = []
    for task, accumulate in ((Line(), 3), (Union(), 1)):
        torch.manual_seed(0)
        config = replace(CONFIG, accumulate=accumulate)
        fit = Fit(nn.Linear(2, 1), task, config, tmp_path / str(accumulate), CPU)
        states.append(fit.run(lambda *_: None)[0])
    torch.testing.assert_close(states[0]["weight"], states[1]["weight"])


def test_the_last_batches_of_an_epoch_count_in_full_though_they_are_fewer(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, accumulate=2, optimiser="sgd", momentum=0.0, nesterov=False)
    config = replace(config, warmup_share=0.0, weight_decay=0.0, schedule="constant")
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    config = replace(config, gradient_clip=1e6)
    state, _ = Fit(model, Line(), config, tmp_path, CPU).run(lambda *_: None)
    by_hand = nn.Linear(2, 1)
    by_hand.load_state_dict(start)
    batches = list(Line().batches(0))
    for together in (batches[:2], batches[2:]):
        by_hand.zero_grad()
        sum(Line().loss(by_hand, batch, 0.0) for batch in together).backward()
        with torch.no_grad():
            for weight in by_hand.parameters():
                weight -= 0.05 * weight.grad / len(together)
    torch.testing.assert_close(state["weight"], by_hand.weight.detach())


def test_a_frozen_encoder_stays_as_it_is_and_then_learns(tmp_path: Path) -> None:
    task = Line()
    run(tmp_path, task, replace(CONFIG, freeze_encoder_epochs=2))
    started = line_model().state_dict()
    encoder = [name for name in started if name.startswith("encoder.")]
    assert len(encoder) == 7  # weights and batch-norm statistics
    for epoch, same in ((0, True), (1, True), (2, False)):
        for name in encoder:
            assert torch.equal(task.validated[epoch][name], started[name]) == same, name
    assert not torch.equal(task.validated[0]["head.weight"], started["head.weight"])


def test_averaged_epochs_are_the_mean_of_their_weights_with_batch_norm_anew(tmp_path: Path) -> None:
    task = Line()
    state, _ = run(tmp_path, task, replace(CONFIG, swa_start=0.5))
    late = task.validated[2:4]
    for name in ("encoder.0.weight", "encoder.1.weight", "head.bias"):
        torch.testing.assert_close(state[name], (late[0][name] + late[1][name]) / 2)
    hidden = [
        batch.inputs @ state["encoder.0.weight"].T + state["encoder.0.bias"]
        for batch in task.batches(4)
    ]
    expected = torch.stack([values.mean(0) for values in hidden]).mean(0)
    torch.testing.assert_close(state["encoder.1.running_mean"], expected)
    expected = torch.stack([values.var(0) for values in hidden]).mean(0)
    torch.testing.assert_close(state["encoder.1.running_var"], expected)


def test_averaged_epochs_of_a_moving_average_are_of_that(tmp_path: Path) -> None:
    task = Line()
    state, _ = run(tmp_path, task, replace(CONFIG, swa_start=0.5, ema_decay=0.9))
    late = [weights["head.weight"] for weights in task.validated[2:4]]
    torch.testing.assert_close(state["head.weight"], (late[0] + late[1]) / 2)


def test_a_run_stopped_before_averaging_began_returns_its_best_epoch(tmp_path: Path) -> None:
    task = Line([0.5, 0.4, 0.3, 0.2])
    state, _ = run(tmp_path, task, replace(CONFIG, swa_start=0.9, early_stopping=1))
    assert_same(state, task.validated[0])


def test_fp16_without_a_gpu_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="precision is fp16, but the device is cpu; expected a"):
        run(tmp_path, config=replace(CONFIG, precision="fp16"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fp16_learns_on_a_gpu(tmp_path: Path) -> None:
    class OnGpu(Line):
        def batches(self, epoch: int):
            for batch in super().batches(epoch):
                yield Points(batch.inputs.cuda(), batch.targets.cuda(), batch.ids)

    config = replace(CONFIG, epochs=20, precision="fp16")
    fit = Fit(line_model(), OnGpu(), config, tmp_path, torch.device("cuda"))
    _, history = fit.run(lambda *_: None)
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]


@pytest.mark.parametrize("broken_epoch", [0, 1, 3])
@pytest.mark.parametrize(
    ("config", "scores"),
    [
        (CONFIG, None),
        (replace(CONFIG, ema_decay=0.9), None),
        (replace(CONFIG, ema_decay=0.9, early_stopping=2), [0.1, 0.5, 0.4, 0.2]),
        (replace(CONFIG, precision="bf16"), [0.4, 0.3, 0.2, 0.1]),
        (replace(CONFIG, ema_decay=0.9, accumulate=2), None),
        (replace(CONFIG, swa_start=0.25), None),
        (replace(CONFIG, swa_start=0.5, ema_decay=0.9, accumulate=2), [0.1, 0.5, 0.4, 0.6, 0.7]),
        (
            replace(CONFIG, schedule="plateau", plateau_patience=0, early_stopping=3),
            [0.5, 0.4, 0.45, 0.3],
        ),
        (replace(CONFIG, schedule="warm_restarts", cycles=3, normalise_gradients=True), None),
        (replace(CONFIG, optimiser="sgd", freeze_encoder_epochs=2), None),
        (replace(CONFIG, optimiser="sgd", encoder_learning_rate=0.1, accumulate=3), None),
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
    assert len(rest.validated) == 4 - broken_epoch + (config.swa_start < 1)
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
        def loss(self, model: nn.Module, batch: Points, share: float) -> torch.Tensor:
            error = super().loss(model, batch, share)
            return error + (0 * error).sqrt()  # 0, with an infinite slope

    with pytest.raises(TrainingError, match=r"the gradient's norm is nan in epoch 1 on tiles 0-0-"):
        run(tmp_path, Steep())
    assert checkpoint.load_state(tmp_path) is None

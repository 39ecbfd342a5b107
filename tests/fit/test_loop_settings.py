"""What each setting of the training loop does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from line_task import CONFIG, CPU, Line, Overflowing, Points, assert_same, line_model, run
from torch import nn

from salt.errors import TrainingError
from salt.fit import checkpoint, loop
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.schedule import one_cycle, warm_restarts, warmup_constant, warmup_cosine
from salt.fit.task import FitConfig


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> FitConfig:
    """Settings of fp16 on the CPU: its scaled gradients around full-precision products."""
    monkeypatch.setattr(loop, "autocast", lambda *_: torch.autocast("cpu", enabled=False))
    return replace(CONFIG, precision="fp16")


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


def test_a_plateau_is_one_of_the_mean_over_the_window(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=6, schedule="plateau", plateau_patience=0, plateau_factor=0.1)
    config = replace(config, warmup_share=0.0, score_window=2)
    _, history = run(tmp_path, Line([0.9, 0.1, 0.3, 0.2, 0.4, 0.3]), config)
    # means from the second on: 0.5, 0.2, 0.25, 0.3; single scores would stall four times
    expected = [0.05, 0.05, 0.05, 0.005, 0.0005, 0.00005]
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
        fit = Fit(nn.Linear(2, 1), task, config, tmp_path / str(accumulate), Processes(CPU))
        states.append(fit.run(lambda *_: None)[0])
    torch.testing.assert_close(states[0]["weight"], states[1]["weight"])


def test_the_last_batches_of_an_epoch_count_in_full_though_they_are_fewer(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, accumulate=2, optimiser="sgd", momentum=0.0, nesterov=False)
    config = replace(config, warmup_share=0.0, weight_decay=0.0, schedule="constant")
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    config = replace(config, gradient_clip=1e6)
    state, _ = Fit(model, Line(), config, tmp_path, Processes(CPU)).run(lambda *_: None)
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


@pytest.mark.parametrize(
    ("swa_start", "averaged"), [(0.0, 4), (0.49, 3), (0.5, 2), (0.74, 2), (0.75, 1), (0.99, 1)]
)
def test_epochs_that_end_behind_the_share_are_averaged_at_least_the_last(
    tmp_path: Path, swa_start: float, averaged: int
) -> None:
    task = Line()
    state, _ = run(tmp_path, task, replace(CONFIG, swa_start=swa_start))
    late = [weights["head.weight"] for weights in task.validated[4 - averaged : 4]]
    torch.testing.assert_close(state["head.weight"], torch.stack(late).mean(0))
    assert len(task.validated) == 4 + 1  # the mean as well


def test_a_frozen_encoder_keeps_its_statistics_in_the_mean_of_epochs(tmp_path: Path) -> None:
    """In a continued run that has only the mean left to take, too."""
    config = replace(CONFIG, swa_start=0.5, freeze_encoder_epochs=4)
    state, _ = run(tmp_path, config=config)
    continued, _ = run(tmp_path, config=config)
    started = line_model().state_dict()
    for name in (key for key in started if key.startswith("encoder.")):
        assert torch.equal(state[name], started[name]), name
    assert_same(continued, state)


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
    fit = Fit(line_model(), OnGpu(), config, tmp_path, Processes(torch.device("cuda")))
    _, history = fit.run(lambda *_: None)
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]


def test_scaled_gradients_take_the_same_steps(tmp_path: Path, scaled: FitConfig) -> None:
    expected, _ = run(tmp_path / "plain")
    state, _ = run(tmp_path / "scaled", config=scaled)
    assert_same(state, expected)  # a scale that is a power of two rounds nothing
    assert checkpoint.load_state(tmp_path / "scaled")[1]["scaler"]["scale"] == 2**16


def test_overflowing_steps_are_left_out_and_the_scale_halved(
    tmp_path: Path, scaled: FitConfig
) -> None:
    state, _ = run(tmp_path, Overflowing(2), scaled)
    assert all(value.isfinite().all() for value in state.values())
    assert checkpoint.load_state(tmp_path)[1]["scaler"]["scale"] == 2**14


def test_gradients_that_overflow_at_any_scale_end_the_run(
    tmp_path: Path, scaled: FitConfig
) -> None:
    with pytest.raises(TrainingError, match=r"the gradient's norm is nan in epoch 6 on tiles 5-1-"):
        run(tmp_path, Overflowing(torch.inf), replace(scaled, epochs=8))

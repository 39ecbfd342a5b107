"""Snapshots of cycles: of which steps and whose weights, and that a killed run keeps them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from line_task import CONFIG, CPU, Line, assert_same, line_model
from torch import nn

from salt.errors import TrainingError
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.schedule import cycle_ends, warm_restarts
from salt.fit.snapshots import Snapshots
from salt.fit.task import FitConfig
from salt.models.weights import save_weights

# 12 steps of the optimiser, the first a warm-up; cycles end with 3, 6, 9 and 11
CYCLIC = replace(CONFIG, schedule="warm_restarts", cycles=4, snapshots=3)


class Watched(Line):
    """Keeps the weights before every batch, which are those behind the step before it."""

    def __init__(self, scores: list[float] | None = None) -> None:
        super().__init__(scores)
        self.before: list[dict[str, torch.Tensor]] = []

    def loss(self, model: nn.Module, batch, share: float) -> torch.Tensor:
        self.before.append({key: value.clone() for key, value in model.state_dict().items()})
        return super().loss(model, batch, share)


def fitted(folder: Path, task: Line, config: FitConfig = CYCLIC):
    """Run the line; return the weights of all snapshots, the result last."""
    fit = Fit(line_model(), task, config, folder, Processes(CPU))
    state, _ = fit.run(lambda *_: None)
    return [*fit.snapshots.states, state]


def test_cycles_end_where_those_by_hand_do() -> None:
    assert cycle_ends(12, warmup_share=0.0, cycles=3) == [3, 7, 11]
    assert cycle_ends(12, warmup_share=0.1, cycles=4) == [3, 6, 9, 11]  # 11 steps behind the first


@pytest.mark.parametrize(("total", "share", "cycles"), [(12, 0.1, 4), (100, 0.25, 7), (37, 0.0, 5)])
def test_the_rate_jumps_behind_the_end_of_a_cycle_and_nowhere_else(
    total: int, share: float, cycles: int
) -> None:
    warmup = round(total * share)
    rates = [warm_restarts(step, total, share, cycles) for step in range(total)]
    jumps = [step for step in range(warmup, total - 1) if rates[step + 1] > rates[step]]
    assert [*jumps, total - 1] == cycle_ends(total, share, cycles)


def test_snapshots_are_of_the_steps_that_end_cycles_and_the_result_is_the_last(
    tmp_path: Path,
) -> None:
    task = Watched()
    snapshots = fitted(tmp_path, task)
    assert len(snapshots) == 3
    for state, step in zip(snapshots[:-1], (6, 9), strict=True):
        for name, value in line_model().named_parameters():
            assert torch.equal(state[name], task.before[step + 1][name]), name
            assert not torch.equal(state[name], value)
    assert_same(snapshots[-1], task.validated[-1])


def test_snapshots_are_of_the_moving_average_where_there_is_one(tmp_path: Path) -> None:
    plain = fitted(tmp_path / "plain", Line())
    averaged = fitted(tmp_path / "averaged", Line(), replace(CYCLIC, ema_decay=0.9))
    for one, other in zip(plain, averaged, strict=True):
        assert not torch.equal(one["head.weight"], other["head.weight"])
    task = Line()
    ends = replace(CYCLIC, ema_decay=0.9, warmup_share=0.0, snapshots=4)  # with the epochs
    for state, validated in zip(fitted(tmp_path / "ends", task, ends), task.validated, strict=True):
        assert_same(state, validated)  # validation uses the average


def test_steps_are_the_optimisers_where_batches_go_together(tmp_path: Path) -> None:
    task = Watched()
    config = replace(CYCLIC, accumulate=3, warmup_share=0.0, cycles=2, snapshots=2)
    state, _ = fitted(tmp_path, task, config)  # a step an epoch: the first cycle ends the second
    assert torch.equal(state["head.weight"], task.before[6]["head.weight"])


def test_snapshots_do_not_look_at_the_score(tmp_path: Path) -> None:
    scored = fitted(tmp_path / "scored", Line([0.9, 0.1, 0.2, 0.3]))
    for one, other in zip(scored, fitted(tmp_path / "plain", Line()), strict=True):
        assert_same(one, other)


def test_keeping_snapshots_changes_nothing_in_training(tmp_path: Path) -> None:
    (alone,) = fitted(tmp_path / "alone", Line(), replace(CYCLIC, snapshots=0))
    assert_same(alone, fitted(tmp_path / "kept", Line())[-1])
    (single,) = fitted(tmp_path / "one", Line(), replace(CYCLIC, snapshots=1))
    assert_same(alone, single)


@pytest.mark.parametrize("broken_epoch", [0, 2, 3])  # before, within and behind their epochs
def test_a_run_broken_off_and_continued_has_the_same_snapshots(
    tmp_path: Path, broken_epoch: int
) -> None:
    config = replace(CYCLIC, ema_decay=0.9)
    whole = fitted(tmp_path / "whole", Line(), config)
    broken = Line()
    broken.broken_epoch = broken_epoch
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "broken", broken, config)
    resumed = fitted(tmp_path / "broken", Line(), config)
    finished = fitted(tmp_path / "broken", Line(), config)  # nothing is left to train
    for states in (resumed, finished):
        assert len(states) == len(whole)
        for place, (state, expected) in enumerate(zip(states, whole, strict=True)):
            save_weights(state, tmp_path / f"{place}.safetensors")
            save_weights(expected, tmp_path / "expected.safetensors")
            written = (tmp_path / f"{place}.safetensors").read_bytes()
            assert written == (tmp_path / "expected.safetensors").read_bytes()


def test_more_cycles_than_steps_end_in_one_line() -> None:
    with pytest.raises(TrainingError, match=r"snapshots is 3, but 4 steps are too few for 6 cycle"):
        Snapshots(3, total=4, warmup_share=0.0, cycles=6)

import math

import pytest
import torch

from salt.fit.schedule import (
    one_cycle,
    plateau_factor,
    rate_factor,
    warm_restarts,
    warmup_constant,
    warmup_cosine,
    windowed_scores,
)


def test_ten_steps_with_two_of_warm_up_are_those_by_hand() -> None:
    factors = [warmup_cosine(step, total=10, warmup_share=0.2) for step in range(10)]
    falling = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert factors == pytest.approx([0.5, 1.0, *falling])
    assert falling[0] == 1
    assert falling[4] == pytest.approx(0.5)


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert warmup_cosine(0, total=7, warmup_share=0.0) == 1


def test_it_never_rises_after_the_warm_up_and_ends_near_zero() -> None:
    factors = [warmup_cosine(step, total=100, warmup_share=0.1) for step in range(10, 100)]
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.001


@pytest.mark.parametrize("share", [0.0, 0.1, 0.99])
def test_a_run_of_one_step_has_a_rate(share: float) -> None:
    assert warmup_cosine(0, total=1, warmup_share=share) == 1


def test_a_constant_rate_stays_at_the_peak_behind_its_warm_up() -> None:
    factors = [warmup_constant(step, total=8, warmup_share=0.25) for step in range(8)]
    assert factors == [0.5, 1, 1, 1, 1, 1, 1, 1]


def test_warm_restarts_repeat_the_cosine() -> None:
    factors = [warm_restarts(step, total=12, warmup_share=0.0, cycles=3) for step in range(12)]
    cycle = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert factors == pytest.approx(3 * cycle)


def test_one_warm_up_comes_before_all_cycles() -> None:
    factors = [warm_restarts(step, total=10, warmup_share=0.2, cycles=2) for step in range(10)]
    assert factors[:3] == [0.5, 1, 1]
    assert factors[2:6] == pytest.approx(factors[6:])


@pytest.mark.parametrize(
    ("total", "share"), [(100, 0.3), (37, 0.1), (10, 0.25), (10, 0.0), (3, 0.1)]
)
def test_one_cycle_is_pytorchs(total: int, share: float) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=1.0, total_steps=total, pct_start=share, cycle_momentum=False
    )
    expected = []
    for _ in range(total):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if len(expected) < total:
            reference.step()
    factors = [one_cycle(step, total, share) for step in range(total)]
    assert factors == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_plateau_is_pytorchs(patience: int) -> None:
    draw = torch.Generator().manual_seed(patience)
    scores = torch.rand(40, generator=draw).tolist()
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    for epoch, score in enumerate(scores):
        reference.step(score)
        factor = plateau_factor(scores[: epoch + 1], patience, 0.5)
        assert factor == optimiser.param_groups[0]["lr"]


def test_a_window_has_its_first_mean_once_it_is_full() -> None:
    scores = [0.9, 0.3, 0.6, 0.0]
    assert windowed_scores(scores, 3) == pytest.approx([0.6, 0.3])
    assert windowed_scores(scores, 1) == scores
    assert windowed_scores(scores, 5) == []


def test_each_name_of_the_parameters_is_a_schedule_of_its_own() -> None:
    names = ("cosine", "one_cycle", "warm_restarts", "constant")
    factors = [rate_factor(name, 7, 10, warmup_share=0.1, cycles=2) for name in names]
    assert len(set(factors)) == 4
    plateau = rate_factor("plateau", 7, 10, warmup_share=0.1, cycles=2)
    assert plateau == factors[-1] == 1  # falls by plateau_factor alone

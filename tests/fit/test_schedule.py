import math

import pytest

from salt.fit.schedule import warmup_cosine


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

"""Weights over training: steps, linear shifts, and what they make of the compound loss."""

import pytest

from salt.losses.compound import LossConfig, loss_config
from salt.losses.schedule import LossPhase, weights_at

START = {"bce_weight": 1.0, "lovasz_weight": 0.0, "dice_weight": 0.5}
STEP = LossPhase(0.5, "step", {"bce_weight": 0.0, "lovasz_weight": 1.0})
SHIFT = LossPhase(0.5, "linear", {"bce_weight": 0.2, "lovasz_weight": 1.0})


def test_without_phases_the_weights_stay() -> None:
    for share in (0.0, 0.5, 1.0):
        assert weights_at(START, [], share) == START


def test_a_step_holds_the_weights_before_it_and_sets_its_own_from_its_share_on() -> None:
    for share in (0.0, 0.49):
        assert weights_at(START, [STEP], share) == START
    for share in (0.5, 1.0):
        expected = {"bce_weight": 0.0, "lovasz_weight": 1.0, "dice_weight": 0.5}
        assert weights_at(START, [STEP], share) == expected


@pytest.mark.parametrize(
    ("share", "bce", "lovasz"), [(0, 1.0, 0.0), (0.25, 0.6, 0.5), (0.5, 0.2, 1.0), (0.9, 0.2, 1.0)]
)
def test_a_linear_phase_is_reached_on_a_straight_line(share, bce, lovasz) -> None:
    weights = weights_at(START, [SHIFT], share)
    assert weights == pytest.approx(
        {"bce_weight": bce, "lovasz_weight": lovasz, "dice_weight": 0.5}
    )


def test_a_linear_phase_starts_at_the_phase_before() -> None:
    phases = [STEP, LossPhase(1.0, "linear", {"lovasz_weight": 3.0, "dice_weight": 0.0})]
    assert weights_at(START, phases, 0.4) == START
    expected = {"bce_weight": 0.0, "lovasz_weight": 2.0, "dice_weight": 0.25}
    assert weights_at(START, phases, 0.75) == pytest.approx(expected)
    expected = {"bce_weight": 0.0, "lovasz_weight": 3.0, "dice_weight": 0.0}
    assert weights_at(START, phases, 1.0) == pytest.approx(expected)


def test_the_settings_at_a_share_change_weights_alone() -> None:
    phase = {"share": 0.5, "change": "step", "weights": {"bce_weight": 0.0, "iou_weight": 2.0}}
    config = loss_config({"bce_weight": 1.0, "focal_gamma": 3.0, "schedule": [phase]})
    assert config.at(0.2) == config
    late = config.at(0.7)
    assert (late.bce_weight, late.iou_weight, late.focal_gamma) == (0.0, 2.0, 3.0)


def test_distances_are_needed_if_any_phase_ever_looks_at_them() -> None:
    late = LossPhase(0.8, "step", {"distance_weight": 0.5})
    assert not LossConfig(dice_weight=1.0).needs_distances()
    assert LossConfig(boundary_weight=0.1).needs_distances()
    assert LossConfig(dice_weight=1.0, schedule=(late,)).needs_distances()

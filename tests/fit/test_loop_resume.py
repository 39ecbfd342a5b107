"""Exact resume of the training loop, by combinations of settings."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from line_task import CONFIG, Line, Overflowing, assert_same, run

from salt.fit import checkpoint, loop
from salt.fit.task import FitConfig


@pytest.mark.parametrize("broken_epoch", [0, 1, 3])
@pytest.mark.parametrize(
    ("config", "scores"),
    [
        (CONFIG, None),
        (replace(CONFIG, ema_decay=0.9), None),
        (replace(CONFIG, ema_decay=0.9, early_stopping=2), [0.1, 0.5, 0.4, 0.2]),
        (replace(CONFIG, score_window=3), [0.1, 0.9, 0.2, 0.6]),
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


@pytest.mark.parametrize("broken_epoch", [2, 3])
def test_patience_that_ran_out_before_the_last_epoch_ends_a_continued_run_as_well(
    tmp_path: Path, broken_epoch: int
) -> None:
    config, scores = replace(CONFIG, epochs=6, early_stopping=2), [0.1, 0.5, 0.4, 0.3, 0.9, 0.9]
    expected, whole_history = run(tmp_path / "whole", Line(scores), config)
    broken = Line(scores)
    broken.broken_epoch = broken_epoch
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", broken, config)
    state, history = run(tmp_path / "broken", Line(scores[broken_epoch:]), config)
    assert len(history) == 4
    pd.testing.assert_frame_equal(history, whole_history)
    assert_same(state, expected)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    expected, _ = run(tmp_path)
    again = Line()
    again.broken_epoch = 0
    state, history = run(tmp_path, again)
    assert_same(state, expected)
    assert len(history) == 4


def test_the_scale_of_gradients_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 on the CPU: its scaled gradients around full-precision products."""
    monkeypatch.setattr(loop, "autocast", lambda *_: torch.autocast("cpu", enabled=False))
    scaled = replace(CONFIG, precision="fp16")
    expected, _ = run(tmp_path / "whole", Overflowing(2), scaled)
    broken = Overflowing(2)
    broken.broken_epoch = 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", broken, scaled)
    state, _ = run(tmp_path / "broken", Line(), scaled)
    assert_same(state, expected)
    scales = [checkpoint.load_state(tmp_path / name)[1]["scaler"] for name in ("whole", "broken")]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] == 2**14

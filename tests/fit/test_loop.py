"""The training loop on a model of a few numbers; whole stages are in test_resume.py."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from line_task import CONFIG, CPU, Line, Points, assert_same, line_model, run
from torch import nn

from salt.errors import TrainingError
from salt.fit import checkpoint
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.schedule import warmup_cosine


def test_a_line_is_learnt(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=80, weight_decay=0.0)
    fit = Fit(nn.Linear(2, 1), Line(), config, tmp_path, Processes(CPU))
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


def test_the_best_epoch_is_that_of_the_best_mean_over_the_window(tmp_path: Path) -> None:
    task = Line(scores=[0.1, 0.8, 0.2, 0.6, 0.7, 0.5])  # the second epoch is lucky
    state, _ = run(tmp_path, task, replace(CONFIG, epochs=6, score_window=3))
    assert_same(state, task.validated[5])  # means 0.1, 0.45, 0.37, 0.53, 0.5, 0.6


def test_a_lucky_first_epoch_does_not_compete_with_means(tmp_path: Path) -> None:
    task = Line(scores=[0.9, 0.2, 0.4, 0.5, 0.6, 0.7])
    state, _ = run(tmp_path, task, replace(CONFIG, epochs=6, score_window=3))
    assert_same(state, task.validated[5])  # means from the third on: 0.5, 0.37, 0.5, 0.6


def test_of_fewer_epochs_than_the_window_the_last_is_the_result(tmp_path: Path) -> None:
    task = Line(scores=[0.9, 0.1, 0.2, 0.3])
    assert_same(run(tmp_path, task, replace(CONFIG, score_window=9))[0], task.validated[3])


def test_early_stopping_begins_to_wait_once_the_window_is_full(tmp_path: Path) -> None:
    task = Line(scores=[0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    state, history = run(
        tmp_path, task, replace(CONFIG, epochs=6, early_stopping=1, score_window=3)
    )
    assert len(history) == 4
    assert_same(state, task.validated[2])


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


@pytest.mark.parametrize(("spoilt", "named"), [(0, ["0-0-0", "0-1-7"]), (2, ["0-2-0", "0-2-7"])])
def test_a_gradient_that_is_no_number_names_all_tiles_that_it_is_the_sum_of(
    tmp_path: Path, spoilt: int, named: list[str]
) -> None:
    """Three batches of eight tiles, two a step: the fault may be in the first of them."""

    class Steep(Line):
        def loss(self, model: nn.Module, batch: Points, share: float) -> torch.Tensor:
            error = super().loss(model, batch, share)
            return error + (0 * error).sqrt() if len(self.shares) == spoilt + 1 else error

    with pytest.raises(TrainingError, match="the gradient's norm is nan in epoch 1") as refused:
        run(tmp_path, Steep(), replace(CONFIG, accumulate=2))
    tiles = str(refused.value).partition("on tiles ")[2].partition(";")[0].split(", ")
    assert [tiles[0], tiles[-1]] == named
    assert len(tiles) == (16 if spoilt == 0 else 8)

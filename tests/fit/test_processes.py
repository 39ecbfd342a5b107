"""Two processes train as one does; what they must agree about. Each run starts the processes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import shared_runs
import torch
from fold_task import fold_of, task_on
from line_task import Line, assert_same
from timm.layers import BatchNormAct2d
from tiny_project import PROJECT, make_project
from torch import nn

from salt.dataset import training_batches
from salt.errors import TrainingError
from salt.files import read_csv, read_json
from salt.fit import checkpoint
from salt.fit.processes import Processes, launch
from salt.models.weights import read_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `one`, written by this process, and `two`, by two that Fabric started."""
    folder, project = (tmp_path_factory.mktemp(name) for name in ("processes", "project"))
    make_project(project)
    shared_runs.main(project, folder / "one", 1)
    script, out = PROJECT / "tests/fit/shared_runs.py", folder / "two"
    paths = (PROJECT, PROJECT / "tests", PROJECT / "tests/fit")
    done = subprocess.run(
        [sys.executable, str(script), str(project), str(out), "2"],
        env={"PYTHONPATH": ":".join(map(str, paths)), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def seen_ids(folder: Path, epoch: int) -> list[str]:
    return [i for path in sorted(folder.glob("seen_*")) for i in read_json(path)[str(epoch)]]


@pytest.mark.parametrize("epoch", range(shared_runs.EPOCHS))
def test_each_tile_is_seen_once_an_epoch_by_one_of_the_processes(runs: Path, epoch: int) -> None:
    seen = seen_ids(runs / "two", epoch)
    assert len(set(seen)) == len(seen)
    assert sorted(seen) == sorted(seen_ids(runs / "one", epoch))
    halves = [read_json(runs / f"two/seen_{rank}.json")[str(epoch)] for rank in (0, 1)]
    assert len(halves[0]) == len(halves[1])


@pytest.mark.parametrize("fitted", ["tiles", "scored"])
def test_two_processes_reach_the_weights_and_scores_of_one(runs: Path, fitted: str) -> None:
    """To 1e-6: means of halves round otherwise than means of wholes."""
    one, two = (read_weights(runs / name / f"{fitted}.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=0)
    one, two = (read_csv(runs / name / f"{fitted}.csv", ()) for name in ("one", "two"))
    pd.testing.assert_frame_equal(two, one, atol=1e-6, rtol=0)


def test_scores_that_one_process_knows_lower_the_rate_and_end_the_run_of_both(runs: Path) -> None:
    history = read_csv(runs / "two/scored.csv", ())
    assert history["validation_score"].tolist() == [0.1, 0.5, 0.6, 0.4, 0.3]
    expected = [0.05, 0.05, 0.05, 0.05, 0.025]  # halved behind the fourth, and stopped
    assert history["learning_rate"].tolist() == pytest.approx(expected)


def test_a_broken_run_of_two_processes_continues_as_if_nothing_was(runs: Path) -> None:
    """Dropout included, of which each process draws its own."""
    whole, broken = (read_weights(runs / f"two/{name}.safetensors") for name in ("whole", "broken"))
    assert_same(whole, broken)


def test_a_loss_that_is_no_number_in_one_process_ends_both(runs: Path) -> None:
    """The spoilt point is the second process's; the first one tells of it."""
    kind, message = read_json(runs / "two/end_0.json")
    assert kind == "TrainingError"
    assert "the loss is nan in epoch 3 on tiles 2-1-0, 2-1-2" in message
    assert "2-1-3" in message
    assert read_json(runs / "two/end_1.json") == ["SystemExit", "0"]
    assert checkpoint.load_state(runs / "two/spoilt")[1]["epoch"] == 2


def test_alone_a_process_needs_no_fabric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # importing it would fail
    alone = launch(CPU, devices=1, nodes=1, batch_size=3)
    assert (alone.rank, alone.count, alone.first, alone.device) == (0, 1, True, CPU)
    assert "LOCAL_RANK" not in os.environ


def test_alone_a_process_has_all_of_every_batch(tmp_path: Path) -> None:
    data = fold_of(make_project(tmp_path))
    whole, alone = (task_on(data, part=part) for part in (slice(None), Processes(CPU).part))
    for expected, batch in zip(whole.batches(0), alone.batches(0), strict=True):
        assert batch.ids == expected.ids
        assert torch.equal(batch.images, expected.images)


def process(rank: int, device: str = "cpu", local_rank: int = 0) -> Processes:
    """One of two, without the other."""
    place = {"device": torch.device(device), "global_rank": rank, "local_rank": local_rank}
    return Processes(CPU, SimpleNamespace(**place, world_size=2))


def test_batch_norm_is_synchronised_on_gpus_and_keeps_its_activation() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(3), BatchNormAct2d(3))

    on_gpus = process(0, "cuda").prepared(network())
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in on_gpus)
    assert isinstance(on_gpus[1].act, nn.ReLU)
    assert on_gpus.state_dict().keys() == network().state_dict().keys()
    assert not isinstance(process(0).prepared(network())[0], nn.SyncBatchNorm)


def test_each_process_draws_its_own_numbers_and_the_same_in_an_epoch_again() -> None:
    torch.manual_seed(5)
    processes = process(0), process(1)
    draws = {}
    for turn, epoch in enumerate([0, 1, 0]):
        for each in processes:
            each.reseed(epoch)
            draws[turn, each.rank] = torch.rand(1).item()
    assert len(set(draws.values())) == 4
    assert [draws[0, rank] for rank in (0, 1)] == [draws[2, rank] for rank in (0, 1)]


def test_every_host_is_told_once_why_a_run_ends() -> None:
    for rank, local_rank, end in ((0, 0, TrainingError), (1, 0, TrainingError), (1, 1, SystemExit)):
        with pytest.raises(end):
            process(rank, local_rank=local_rank).refuse("the loss is nan")


def test_of_a_batch_short_of_tiles_each_process_gets_as_many(tmp_path: Path) -> None:
    tiles = fold_of(make_project(tmp_path)).training.subset(np.arange(3))
    settings = {"epoch": 0, "seed": 1, "batch_size": 8, "augmentation": None}
    parts = [
        next(training_batches(tiles, part=slice(rank, None, 2), **settings)).ids for rank in (0, 1)
    ]
    assert [len(ids) for ids in parts] == [2, 2]
    assert {*parts[0], *parts[1]} == set(tiles.ids)


def test_more_gpus_than_there_are_end_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match=r"train.devices is 2, but torch sees 1 GPUs; expected"):
        launch(torch.device("cuda"), devices=2, nodes=1, batch_size=8)


@pytest.mark.parametrize(("batch_size", "devices", "nodes"), [(16, 3, 1), (16, 4, 4), (6, 2, 2)])
def test_a_batch_that_cannot_be_shared_evenly_ends_in_one_line(
    batch_size: int, devices: int, nodes: int
) -> None:
    message = rf"a batch of {batch_size} tiles for {devices * nodes} processes .*; expected"
    with pytest.raises(TrainingError, match=message):
        launch(CPU, devices, nodes, batch_size)


def test_hosts_that_would_continue_from_different_epochs_are_refused(tmp_path: Path) -> None:
    class Elsewhere(Processes):
        def told_by_first(self, values):
            return {"epoch": 2}

    fit = shared_runs.Fit(
        shared_runs.line_model(), Line(), shared_runs.CONFIG, tmp_path, Elsewhere(CPU)
    )
    with pytest.raises(TrainingError, match=r"continue behind epoch 0, the first one behind 2; "):
        fit.run(lambda *_: None)

"""Tracking: which runs appear in MLflow, and that no failure of it reaches a stage."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from salt import ledger, provenance, tracking

PARAMS = {"seed": 1, "train": {"epochs": 2, "rate": 1e-4}, "runtime": {"device": "cpu"}}
PROJECT = Path(__file__).resolve().parents[1]
mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """An empty MLflow database; creating one takes seconds, copying none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def root(tmp_path, empty_database, monkeypatch):
    """A project root with an empty database, under one `dvc` process."""
    (tmp_path / ".salt").mkdir()
    shutil.copy(empty_database, tmp_path / ".salt" / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    under_dvc(monkeypatch, provenance.own_process())
    return tmp_path


def under_dvc(monkeypatch, process):
    monkeypatch.setattr(provenance, "dvc_process", lambda: process)


def ended_process():
    """Name a process that no longer runs."""
    done = subprocess.Popen(["true"])
    done.wait()
    return provenance.Process(done.pid, time.time())


def runs(root):
    """All runs by name, oldest first."""
    client = mlflow.MlflowClient(f"sqlite:///{root}/.salt/mlflow.db")
    experiment = client.get_experiment_by_name("salt").experiment_id
    found = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    return [(run.info.run_name, run) for run in found]


def history(root, run, metric):
    client = mlflow.MlflowClient(f"sqlite:///{root}/.salt/mlflow.db")
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric)]


def test_stages_of_one_pipeline_run_share_a_parent(root):
    with tracking.stage_run("ingest", PARAMS):
        pass
    with tracking.stage_run("train", PARAMS, fold=1):
        pass
    (_, parent), (ingest, first), (train, second) = runs(root)
    assert (ingest, train) == ("ingest", "train@1")
    assert "mlflow.parentRunId" not in parent.data.tags
    for child in (first, second):
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for _, run in runs(root)} == {"FINISHED"}


def test_the_next_pipeline_run_gets_a_parent_of_its_own(root, monkeypatch):
    with tracking.stage_run("ingest", PARAMS):
        pass
    under_dvc(monkeypatch, provenance.Process(1, 0.0))
    with tracking.stage_run("ingest", PARAMS):
        pass
    children = [run for name, run in runs(root) if name == "ingest"]
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 2


def test_an_experiment_names_the_parent(root, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "sandy-dome")
    with tracking.stage_run("ingest", PARAMS):
        pass
    names = [name for name, _ in runs(root)]
    assert names == ["sandy-dome", "ingest"]
    assert runs(root)[1][1].data.tags["dvc.experiment"] == "sandy-dome"


def test_parameters_are_logged_with_their_full_path(root):
    with tracking.stage_run("train", PARAMS, fold=0):
        pass
    expected = {
        "seed": "1",
        "train.epochs": "2",
        "train.rate": "0.0001",
        "runtime.device": "cpu",
    }
    assert all(run.data.params == expected for _, run in runs(root))


def test_metrics_are_kept_by_epoch_and_final_ones_reach_the_parent(root):
    with tracking.stage_run("train", PARAMS, fold=0) as run:
        run.metrics({"loss": 0.5}, step=0)
        run.metrics({"loss": 0.25}, step=1)
        run.metrics({"score": 0.75})
    (_, parent), (_, child) = runs(root)
    assert history(root, child, "loss") == [(0, 0.5), (1, 0.25)]
    assert child.data.metrics["score"] == 0.75
    assert parent.data.metrics == {"train/0/score": 0.75}


def test_pictures_and_artifacts_are_copied_below_the_root(root, tmp_path):
    picture = tmp_path / "gallery.png"
    picture.write_bytes(b"png")
    folder = tmp_path / "plots"
    folder.mkdir()
    (folder / "history.csv").write_text("epoch\n")
    with tracking.stage_run("report", PARAMS) as run:
        run.picture(picture)
        run.artifact(folder)
    kept = sorted(p.name for p in (root / ".salt" / "mlruns").rglob("*") if p.is_file())
    assert kept == ["gallery.png", "history.csv"]


def test_a_failing_stage_is_marked_and_its_error_comes_through(root):
    with pytest.raises(ValueError, match="no salt"), tracking.stage_run("index", PARAMS):
        raise ValueError("no salt")
    (_, parent), (_, child) = runs(root)
    assert (parent.info.status, child.info.status) == ("FAILED", "FAILED")
    assert child.data.tags["salt.error"] == "no salt"


def start_and_die(root, monkeypatch, params):
    """Leave the traces of a training that was killed after its first epoch."""
    dead = ended_process()
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "own_process", lambda: dead)
        run = tracking.StageRun(ledger.open_ledger(root, dead, "train", params, 0))
        run.metrics({"loss": 1.0}, step=0)


def test_a_killed_stage_continues_its_run_under_the_new_pipeline_run(root, monkeypatch):
    start_and_die(root, monkeypatch, PARAMS)
    with tracking.stage_run("train", PARAMS, fold=0) as run:
        run.metrics({"loss": 0.5}, step=1)
    (_, old_parent), (name, child), (_, new_parent) = runs(root)
    assert name == "train@0"
    assert history(root, child, "loss") == [(0, 1.0), (1, 0.5)]
    assert child.data.tags["mlflow.parentRunId"] == new_parent.info.run_id
    assert child.data.tags["salt.resumed"] == "1"
    assert [r.info.status for r in (old_parent, child, new_parent)] == [
        "KILLED",
        "FINISHED",
        "FINISHED",
    ]


def test_a_killed_stage_with_other_parameters_is_not_continued(root, monkeypatch):
    start_and_die(root, monkeypatch, PARAMS | {"seed": 2})
    with tracking.stage_run("train", PARAMS, fold=0):
        pass
    children = [run for name, run in runs(root) if name == "train@0"]
    assert [run.info.status for run in children] == ["KILLED", "FINISHED"]


def test_other_runtime_settings_still_continue_a_killed_stage(root, monkeypatch):
    start_and_die(root, monkeypatch, PARAMS | {"runtime": {"device": "cuda"}})
    with tracking.stage_run("train", PARAMS, fold=0):
        pass
    assert [name for name, _ in runs(root)].count("train@0") == 1


def test_a_run_that_is_still_alive_is_left_alone(root, monkeypatch):
    with tracking.stage_run("train", PARAMS, fold=0):
        under_dvc(monkeypatch, provenance.Process(1, 0.0))
        with tracking.stage_run("train", PARAMS, fold=0):
            statuses = [run.info.status for name, run in runs(root) if name == "train@0"]
    assert statuses == ["RUNNING", "RUNNING"]


class BrokenClient:
    """Answers like MLflow until told to fail."""

    def __init__(self):
        self.batches = []
        self.failing = False

    def log_batch(self, run_id, metrics):
        if self.failing:
            raise OSError("disk full")
        self.batches += [(run_id, m.key, m.step) for m in metrics]

    def set_terminated(self, run_id, status):
        if self.failing:
            raise OSError("disk full")


def test_a_failure_while_running_warns_once_and_never_raises(capsys, tmp_path):
    client = BrokenClient()
    client.failing = True
    run = tracking.StageRun(ledger.Ledger(client, "parent", "child", "train/0"))
    for epoch in range(10):
        run.metrics({"loss": 1.0}, step=epoch)
    run.picture(tmp_path / "absent.png")
    run.close("FINISHED")
    assert capsys.readouterr().err.count("warning: tracking failed (disk full)") == 1


def test_metrics_of_a_failed_call_are_sent_with_the_next():
    client = BrokenClient()
    run = tracking.StageRun(ledger.Ledger(client, "parent", "child", "train/0"))
    client.failing = True
    run.metrics({"loss": 1.0}, step=0)
    client.failing = False
    run.metrics({"loss": 0.5}, step=1)
    assert client.batches == [("child", "loss", 0), ("child", "loss", 1)]


def test_a_server_that_is_down_costs_one_warning_per_pipeline_run(root, monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    for stage in ("ingest", "index"):
        with tracking.stage_run(stage, PARAMS) as run:
            run.metrics({"tiles": 1.0})
    assert capsys.readouterr().err.count("warning: tracking failed") == 1


def test_a_server_that_never_answers_is_given_up_on(root, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with tracking.stage_run("ingest", PARAMS):
            pass
    assert time.monotonic() - started < 10
    assert capsys.readouterr().err.count("warning: tracking failed") == 1


def test_without_mlflow_a_stage_runs_and_the_warning_names_the_package(root, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with tracking.stage_run("ingest", PARAMS) as run:
        run.metrics({"tiles": 1.0})
    assert "pip install mlflow" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_made_only_warns(tmp_path, monkeypatch, capsys):
    (tmp_path / ".salt").write_text("a file where the folder should be")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with tracking.stage_run("ingest", PARAMS) as run:
        run.metrics({"tiles": 1.0})
    assert capsys.readouterr().err.count("warning: tracking failed") == 1


def test_sections_flatten_to_dotted_keys():
    assert ledger.flatten({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


STAGE = """
import sys, time
from salt import tracking
with tracking.stage_run("train", {"seed": 1}, fold=int(sys.argv[1])) as run:
    run.metrics({"loss": 1.0}, step=0)
    print("open", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start_stage(root, fold, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, str(fold), str(seconds)],
        env=os.environ | {"DVC_ROOT": str(root), "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_three_processes_at_first_use_leave_one_database_with_all_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stages = [start_stage(tmp_path, fold, 0) for fold in range(3)]
    assert [stage.communicate()[1] for stage in stages] == ["", "", ""]
    names = sorted(name for name, _ in runs(tmp_path))
    assert names[1:] == ["train@0", "train@1", "train@2"]
    assert len(names) == 4


@pytest.mark.slow
def test_a_stage_killed_by_the_system_continues_its_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    killed = start_stage(tmp_path, 0, 600)
    assert killed.stdout.readline() == "open\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = start_stage(tmp_path, 0, 0)
    assert again.communicate()[1] == ""
    (_, child) = next(pair for pair in runs(tmp_path) if pair[0] == "train@0")
    assert (child.info.status, child.data.tags["salt.resumed"]) == ("FINISHED", "1")

"""Provenance: processes, commits and machines are named correctly."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from salt import provenance

PROJECT = Path(__file__).resolve().parents[1]


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with one committed source file and one of parameters."""
    git(tmp_path, "init", "-q")
    for name in ("code.py", "params.yaml"):
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    return tmp_path


def test_this_process_is_not_gone():
    assert not provenance.is_gone(str(provenance.own_process()))


def test_an_ended_process_is_gone():
    done = subprocess.Popen(["true"])
    done.wait()
    assert provenance.is_gone(str(provenance.Process(done.pid, 0.0)))


def test_a_process_that_reuses_a_number_is_not_taken_for_the_old_one():
    own = provenance.own_process()
    assert provenance.is_gone(str(provenance.Process(own.pid, own.started - 100)))


@pytest.mark.parametrize("identity", ["", "elsewhere:1:0.0", "no colons"])
def test_a_process_nobody_can_see_is_not_called_gone(identity):
    assert not provenance.is_gone(identity)


def test_host_names_may_contain_colons(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "fe80::1")
    assert not provenance.is_gone(str(provenance.own_process()))


def test_the_nearest_dvc_above_is_found_through_a_shell(tmp_path):
    launcher = tmp_path / "dvc"
    command = f"{sys.executable} -c 'from salt import provenance as p; print(p.dvc_process().pid)'"
    launcher.write_text(
        "import os, subprocess\n"
        f"print(os.getpid(), flush=True); subprocess.run(['sh', '-c', {command!r} + '; true'])\n"
    )
    done = subprocess.run(
        [sys.executable, launcher], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    launched, found = done.stdout.split()
    assert launched == found


def test_changed_code_is_dirty_and_changed_parameters_are_not(repository):
    (repository / "params.yaml").write_text("2\n")
    assert provenance.code()["git.dirty"] == "false"
    (repository / "code.py").write_text("2\n")
    assert provenance.code()["git.dirty"] == "true"


def test_an_experiment_comes_from_its_baseline(repository, monkeypatch):
    assert len(provenance.commit()) == 40
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    assert provenance.commit() == "abc"


def test_outside_git_the_commit_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    assert provenance.commit() == ""


def test_the_machine_and_versions_are_text():
    facts = provenance.hardware()
    assert {"hardware.cpus", "version.python", "version.torch"} <= facts.keys()
    assert all(isinstance(value, str) for value in facts.values())

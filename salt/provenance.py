"""Where a run came from: the code's commit, the machine, and the processes above it."""

import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

GENERATED = ("dvc.lock", "params.yaml", "data", "leaderboard")  # change without a change of code
RECORDED_PACKAGES = ("torch", "numpy", "timm")


@dataclass(frozen=True)
class Process:
    """A process, named so that a later one with the same number is told apart."""

    pid: int
    started: float  # seconds since 1970
    host: str = field(default_factory=socket.gethostname)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started:.2f}"


def own_process() -> Process | None:
    """Return this process, or None where psutil is missing."""
    psutil = _psutil()
    return Process(os.getpid(), psutil.Process().create_time()) if psutil else None


def dvc_process() -> Process | None:
    """Return the nearest `dvc` above this process, None if it was not started by DVC.

    There is exactly one per pipeline run in every mode: `dvc repro`, `dvc exp run`, the
    same with `--temp`, and the `dvc exp exec-run` that a queue's worker starts per task.
    """
    psutil = _psutil()
    if psutil is None:
        return None
    with suppress(psutil.Error):
        for process in psutil.Process().parents():
            with suppress(psutil.Error):
                if any(Path(word).name == "dvc" for word in process.cmdline()[:3]):
                    return Process(process.pid, process.create_time())
    return None


def is_gone(identity: str) -> bool:
    """Tell whether the process of `str(Process)` has ended; False where nobody can know."""
    psutil = _psutil()
    host, pid, started = identity.rsplit(":", 2) if identity.count(":") > 1 else ("", "", "")
    if psutil is None or host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 1.0
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def code() -> dict[str, str]:
    """Return the commit, whether the working tree's code differs from it, and the experiment."""
    unwatched = [f":!{name}" for name in GENERATED]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *unwatched)
    return {
        "git.commit": commit(),
        "git.dirty": str(bool(changed)).lower(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
    }


def commit() -> str:
    """Return the commit the code came from, empty outside git.

    An experiment's own commit does not exist yet while it runs; its baseline does.
    """
    return os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD")


def hardware() -> dict[str, str]:
    """Return the machine and the versions that numbers can depend on."""
    facts = {
        "hardware.host": socket.gethostname(),
        "hardware.system": platform.platform(),
        "hardware.cpus": str(os.cpu_count()),
        "version.python": platform.python_version(),
    }
    for package in RECORDED_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            facts[f"version.{package}"] = metadata.version(package)
    torch = sys.modules.get("torch")  # importing it would cost a stage without it seconds
    if torch is not None and torch.cuda.is_available():
        facts["hardware.gpu"] = torch.cuda.get_device_name()
    return facts


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _psutil() -> Any:
    """Return psutil, which comes with DVC, or None: `salt` also runs without DVC."""
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return None
    return psutil

"""Run tracking with MLflow: one parent run per pipeline run, a child per stage and fold.

DVC starts every stage as a process of its own, so the stages of one pipeline run find
their parent by the one thing they share: the `dvc` process above them (docs/tracking.md).

Tracking never changes or ends a run: whatever goes wrong here is one warning on stderr.
Only stages import this module; library functions take a callback
`report(metrics: dict[str, float], step: int)`.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from salt import ledger, provenance

FAILURES_ALLOWED = 3  # then the stage goes on untracked: a dead server costs seconds, not hours


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], fold: int | None = None, tracked: bool = True
) -> Iterator["StageRun"]:
    """Track the block as a child of this pipeline run; never raises on its own account.

    A run of the same stage, fold and parameters whose process was killed is continued, so
    that a resumed training has one curve.

    Args:
        params: the resolved parameters by section, as `Params.model_dump()` gives them.
        tracked: false in all but one of the processes that run a stage together.
    """
    run = StageRun(_open_ledger(stage, params, fold) if tracked else None)
    try:
        yield run
    except KeyboardInterrupt:
        run.close("KILLED")
        raise
    except BaseException as error:
        run.close("FAILED", str(error))
        raise
    run.close("FINISHED")


class StageRun:
    """What a stage reports while it runs; no method raises."""

    def __init__(self, opened: ledger.Ledger | None) -> None:
        self._ledger = opened
        self._failures = 0
        self._pending: list[ledger.Measurement] = []

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics in one batch: those of an epoch (`step`), or final ones (no step).

        Final ones also appear on the parent as `stage/name` or `stage/fold/name`, where
        whole pipeline runs are compared. Metrics of a failed call are sent with the next.
        """
        now = int(time.time() * 1000)
        for name, value in values.items():
            self._pending.append(ledger.Measurement(name, float(value), now, step))
        self._attempt(self._send_pending)

    def picture(self, path: Path) -> None:
        """Attach a picture, shown under `pictures/`."""
        self._attempt(lambda opened: opened.attach(path, "pictures"))

    def artifact(self, path: Path) -> None:
        """Attach a file, or all files of a folder."""
        self._attempt(lambda opened: opened.attach(path, None))

    def close(self, status: str, error: str = "") -> None:
        """End the run with an MLflow status; `error` is kept as a tag."""
        self._attempt(self._send_pending)
        self._attempt(lambda opened: opened.close(status, error))

    def _send_pending(self, opened: ledger.Ledger) -> None:
        opened.log(self._pending)
        self._pending = []

    def _attempt(self, action: Callable[[ledger.Ledger], None]) -> None:
        if self._ledger is None:
            return
        try:
            action(self._ledger)
        except Exception as error:
            if self._failures == 0:
                _warn(error)
            self._failures += 1
            if self._failures == FAILURES_ALLOWED:
                self._ledger = None


def _open_ledger(stage: str, params: Mapping[str, Any], fold: int | None) -> ledger.Ledger | None:
    # the project's root even where `dvc exp run --temp` or `--queue` works in a copy
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd())
    pipeline = provenance.dvc_process()
    if _is_given_up(root, pipeline):
        return None
    try:
        return ledger.open_ledger(root, pipeline, stage, params, fold)
    except Exception as error:
        _warn(error)
        _give_up(root, pipeline)
        return None


def _warn(error: Exception) -> None:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    print(
        f"warning: tracking failed ({reason}); the run goes on and its results are unaffected. "
        "See docs/tracking.md.",
        file=sys.stderr,
    )


def _is_given_up(root: Path, pipeline: provenance.Process | None) -> bool:
    """Tell whether an earlier stage of this pipeline run already warned and gave up."""
    try:
        return (root / ledger.STATE_FOLDER / "untracked").read_text() == str(pipeline)
    except OSError:
        return False


def _give_up(root: Path, pipeline: provenance.Process | None) -> None:
    if pipeline is None:  # started by hand: the next stage may try again
        return
    with suppress(OSError):  # a full disk may be why tracking failed
        (root / ledger.STATE_FOLDER).mkdir(exist_ok=True)
        (root / ledger.STATE_FOLDER / "untracked").write_text(str(pipeline))

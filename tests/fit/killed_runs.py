"""Run stages that are killed and continued, and the same ones undisturbed.

    python killed_runs.py FOLDER

FOLDER/killed and FOLDER/whole are equal projects. A script, because every attempt needs a
process of its own to be killed, and only one that has not trained yet can fork them.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tiny_project import run_stage

from salt.fit.loop import Fit

STAGES: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
    # name, fold, steps after which each attempt is killed; an epoch has three
    ("pretrain", (), (1, 4)),  # before anything is saved; in the second epoch
    ("train", (0,), (5, 3)),  # in the second epoch; continued, at its end but before saving
    ("refine", (0,), (4,)),
]


def in_a_process_of_its_own(action: Callable[[], None]) -> int:
    """Run an action in a forked process; return its exit code, negative if killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(steps: int) -> None:
    """Let this process be killed as by `kill -9` once it has taken that many steps."""
    taken, step = 0, Fit._step

    def counted(self, *arguments) -> float:
        nonlocal taken
        value = step(self, *arguments)
        taken += 1
        if taken == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    Fit._step = counted


def main(folder: Path) -> None:
    """Print each attempt's stage and exit code; the last one of a stage is not killed."""
    for stage, fold, kills in STAGES:
        for steps in (*kills, None):

            def attempt(stage=stage, fold=fold, steps=steps) -> None:
                if steps is not None:
                    kill_after(steps)
                run_stage(folder / "killed", stage, *fold)

            print(stage, in_a_process_of_its_own(attempt))
        in_a_process_of_its_own(lambda s=stage, f=fold: run_stage(folder / "whole", s, *f))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Equal runs share a resume folder: one at a time."""

import fcntl
import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from line_task import CPU

from salt.errors import StoreError, TrainingError
from salt.fit.checkpoint import reserved, save_state
from salt.fit.processes import Processes

FORK = multiprocessing.get_context("fork")
ALONE = Processes(CPU)


def train_on(folder: Path, started: Event) -> None:
    """Reserve a folder like a run that has a loading process, for as long as nobody kills it."""
    with reserved(folder, ALONE):
        FORK.Process(target=time.sleep, args=(5,)).start()
        started.set()
        time.sleep(600)


def test_a_second_run_is_refused_until_the_first_is_killed_and_then_not_at_all(
    tmp_path: Path,
) -> None:
    """Though the killed run's loading process lives on for a while."""
    folder, started = tmp_path / "train-0", FORK.Event()
    first = FORK.Process(target=train_on, args=(folder, started))
    first.start()
    assert started.wait(60)
    refusal = r"train-0: another run of the same settings is under way there; expected one at a"
    with pytest.raises(TrainingError, match=refusal), reserved(folder, ALONE):
        pass
    with reserved(tmp_path / "train-1", ALONE):
        pass
    first.kill()
    first.join()
    with reserved(folder, ALONE):
        save_state(folder, {}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_keeps_its_state_and_frees_it(tmp_path: Path) -> None:
    folder = tmp_path / "train-0"
    with pytest.raises(KeyboardInterrupt), reserved(folder, ALONE):
        save_state(folder, {}, {})
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [folder]
    with reserved(folder, ALONE):
        assert list(folder.iterdir())


def test_a_lock_file_deleted_before_it_was_locked_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "train-0.lock"
    monkeypatch.setattr(fcntl, "lockf", lambda *_: lock.unlink())
    with pytest.raises(TrainingError, match="another run"), reserved(tmp_path / "train-0", ALONE):
        pass


@pytest.mark.parametrize("free", [True, False])
def test_the_other_processes_of_a_run_hear_from_the_first(tmp_path: Path, free: bool) -> None:
    class Second(Processes):
        first = False

        def told_by_first(self, values):
            return {"free": free}

    folder = tmp_path / "train-0"
    save_state(folder, {}, {})
    if free:
        with reserved(folder, Second(CPU)):
            assert list(tmp_path.iterdir()) == [folder]
        assert folder.exists()  # the first one deletes it
    else:
        with pytest.raises(TrainingError, match="another run"), reserved(folder, Second(CPU)):
            pass


def test_where_nothing_can_be_locked_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "resume").write_text("a file where the folder should be")
    message = r"train-0.lock: could not be locked .*expected a writable folder"
    with pytest.raises(StoreError, match=message), reserved(tmp_path / "resume/train-0", ALONE):
        pass

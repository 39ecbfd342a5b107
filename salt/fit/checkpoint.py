"""Resume state: everything that makes a continued run equal an undisturbed one, in one file.

The file is a safetensors (nothing is unpickled) of weights, averages, optimiser moments and
random states, with the counters and the history as JSON in its metadata; it is replaced
atomically after each epoch, so a kill at any moment leaves the last finished epoch.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import safe_open

from salt.errors import StoreError, TrainingError
from salt.fit.processes import Processes
from salt.models.weights import save_weights

STATE = "state.safetensors"
FRAME = tuple(  # cannot change a weight
    f"salt.{name}"
    for name in (
        *("errors", "files", "ledger", "params", "provenance", "section", "settings"),
        *("tracking", "train_settings"),
    )
)


def resume_folder(stage: str, settings: Any, inputs: Iterable[Path]) -> Path:
    """Return the folder for a run's resume state, keyed by all that decides its result.

    It lies under `.salt/resume` of the original DVC root (a queued experiment runs in a
    copied workspace that vanishes with it). The key digests the stage's name with its fold,
    the settings, the bytes of the input files and the code of every `salt` module loaded.

    Raises:
        StoreError: an input file is missing.
    """
    digest = hashlib.sha256(json.dumps([stage, settings], sort_keys=True).encode())
    for path in [*sorted(inputs), *_loaded_sources()]:
        digest.update(path.name.encode() + _content_digest(path))
    root = Path(os.environ.get("DVC_ROOT", "."))
    return root / ".salt" / "resume" / f"{stage.replace('@', '-')}-{digest.hexdigest()[:16]}"


@contextlib.contextmanager
def reserved(folder: Path, processes: Processes) -> Iterator[None]:
    """Keep a run's folder to it alone while the block runs, and delete it if that succeeds.

    The first of its processes holds a lock on a file beside the folder. The system ends the lock
    with the process, so that a killed run can be continued at once.

    Raises:
        TrainingError: another run with the same key is under way.
        StoreError: there can be no lock file.
    """
    path = folder.with_name(f"{folder.name}.lock")
    lock = _locked(path) if processes.first else None
    if not processes.told_by_first({"free": lock is not None})["free"]:
        processes.refuse(
            f"{folder}: another run of the same settings is under way there; expected one at a "
            "time. Wait for it to end, then run again."
        )
    try:
        yield
        if processes.first:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            lock.close()


def save_state(folder: Path, tensors: dict[str, torch.Tensor], counters: dict[str, Any]) -> None:
    """Replace the state in `folder` as one file.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    save_weights(tensors, folder / STATE, {"counters": json.dumps(counters)})


def load_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return (tensors, counters) of the last finished epoch, or None if there is none.

    Raises:
        TrainingError: the file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            return tensors, json.loads(handle.metadata()["counters"])
    except Exception as error:  # safetensors raises its own untyped errors
        raise TrainingError(
            f"{path}: damaged resume state ({error}). Delete {folder} to start anew."
        ) from error


def prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with `prefix` before each name."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return those tensors whose name starts with `prefix`, without it."""
    return {k.removeprefix(prefix): tensor for k, tensor in tensors.items() if k.startswith(prefix)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Flatten the optimiser's moments and step counts to `INDEX.NAME`."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
        if value is not None  # SGD's momentum of a parameter that never had a gradient
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Undo `optimiser_tensors` on a new optimiser of the same parameters.

    Moments get their parameter's memory layout back: kernels round differently by layout.
    """
    parameters = [weight for group in optimiser.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        weight = parameters[int(index)]
        alike = tensor.ndim > 0 and tensor.shape == weight.shape  # not a step count
        laid_out = torch.empty_like(weight, requires_grad=False).copy_(tensor) if alike else tensor
        state.setdefault(int(index), {})[name] = laid_out
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def random_states() -> dict[str, torch.Tensor]:
    """Return torch's random states: the CPU's and, where there is one, each GPU's."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_states(states: dict[str, torch.Tensor]) -> None:
    """Undo `random_states`."""
    torch.set_rng_state(states["cpu"])
    for name, state in states.items():
        if name.startswith("cuda"):
            torch.cuda.set_rng_state(state, int(name.removeprefix("cuda")))


def _locked(path: Path) -> TextIO | None:
    """Return the locked file, None where another process has it.

    By lockf, not flock: loading processes, which outlive a killed run for seconds, would inherit
    the latter's lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            lock = opened.enter_context(path.open("w"))
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                opened.pop_all()
                return lock
    except (BlockingIOError, FileNotFoundError):  # held, or deleted by a run that ended just now
        pass
    except OSError as error:
        raise StoreError(
            f"{path}: could not be locked ({error.strerror}); expected a writable folder on a file "
            "system with locks. Mend that and rerun."
        ) from error
    return None


def _content_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: no such file; expected the output of an earlier stage. Run `dvc repro`."
        ) from None


def _loaded_sources() -> list[Path]:
    modules = [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("salt.") and name not in FRAME
    ]
    return [Path(module.__file__) for module in modules if module.__file__]

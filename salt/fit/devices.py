"""Where to compute."""

import os
import shutil

import torch

from salt.errors import TrainingError


def open_device(name: str, threads: int, deterministic: bool) -> torch.device:
    """Return the device, with torch's thread count and determinism set.

    Args:
        name: `auto` (a GPU if there is one), `cpu` or `cuda`.
        deterministic: on a GPU use only kernels whose result does not vary.

    Raises:
        TrainingError: `cuda` is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "runtime.device is cuda, but torch sees no GPU; expected a CUDA device. "
            "Set runtime.device to auto or cpu."
        )
    torch.set_num_threads(threads)
    kind = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    if kind == "cuda" and deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return torch.device(kind)


def require_compiler() -> None:
    """Ask for what `torch.compile` calls, before it is called.

    Raises:
        TrainingError: there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise TrainingError(
            f"train.compile is true, but there is no {compiler}; expected a C++ compiler. Install "
            "one (or name yours by the environment variable CXX), or set train.compile to false."
        )

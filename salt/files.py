"""Atomic file writing: a reader sees the old file or the whole new one, never a part.

Every function writes to a temporary name in the target's own folder and renames, so a
killed process leaves at most a `.*.part` file, which no stage reads.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.errors import StoreError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` if the block succeeds.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path}: could not be written ({error.strerror or error}); "
            "expected a writable folder with free space. Free space or fix permissions and rerun."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with Unix line ends."""
    with replacing(path) as part:
        part.write_bytes(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys and a closing newline, so that equal content is equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, or say which file is missing or malformed.

    Raises:
        StoreError: no such file, or not JSON.
    """
    return _read(path, lambda: json.loads(path.read_text()))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, Unix line ends, floats in shortest exact form."""
    with replacing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def read_csv(path: Path, text_columns: tuple[str, ...] = ("id",)) -> pd.DataFrame:
    """Read a table; `text_columns` stay text (an id such as `001` or `nan` is not a number).

    An empty cell is "" in a text column and NaN in any other.

    Raises:
        StoreError: no such file, or not a table.
    """
    return _read(path, lambda: _read_table(path, text_columns))


def _read_table(path: Path, text_columns: tuple[str, ...]) -> pd.DataFrame:
    names = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        dtype={name: str for name in names if name in text_columns},
        keep_default_na=False,
        na_values={name: ["", "nan"] for name in names if name not in text_columns},
    )


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy."""
    with replacing(path) as part, part.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)


@contextmanager
def new_array(path: Path, shape: tuple[int, ...], dtype: Any) -> Iterator[np.ndarray]:
    """Yield a memory-mapped .npy array to fill row by row; it appears at `path` when complete."""
    with replacing(path) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
        yield array
        array.flush()


def read_array(path: Path, mapped: bool = True) -> np.ndarray:
    """Open a .npy array, memory-mapped read-only unless told otherwise; never unpickles.

    Raises:
        StoreError: no such file, or not an array.
    """
    return _read(path, lambda: np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))


def _read(path: Path, reader: Callable[[], Any]) -> Any:
    try:
        return reader()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: no such file; expected the output of an earlier stage. Run `dvc repro`."
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}). Delete it and run `dvc repro`."
        ) from error

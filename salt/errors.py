"""One family of errors: each message says what was got, what was expected and what to do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SaltError(Exception):
    """Base of every error a user of `salt` can cause and mend."""


class ParameterError(SaltError):
    """A key or value in the parameters is unknown, mistyped or impossible."""


class InputError(SaltError):
    """Raw input (images, masks, tables) is missing, malformed or inconsistent."""


class StoreError(SaltError):
    """A tile store or another stage's output is missing, incomplete or inconsistent."""


class SubmissionError(SaltError):
    """A submission or one of its run lengths breaks the competition's format."""


class ModelError(SaltError):
    """A model cannot be built from its settings, or weights do not fit it."""


class TrainingError(SaltError):
    """Training cannot go on: a loss that is not finite, or a checkpoint that does not fit."""


class MissingPackageError(SaltError):
    """An optional package is needed for what was asked."""


def in_one_line(error: Exception) -> str:
    """Return what a library's error says, on one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]


@contextmanager
def reported_errors() -> Iterator[None]:
    """End the process with exit code 1 and one clear line on stderr if a `SaltError` comes out.

    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        yield
    except SaltError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None

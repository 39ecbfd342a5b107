"""Reading and checking the CSV tables of a source: every value is text until proven otherwise."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from salt.errors import InputError

PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # safe as a file name on any system


def read_table(
    path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Return `columns`, one of them `id`, and those of `optional` that are there, as text.

    Rows are indexed by their line in the file, for messages.

    Raises:
        InputError: no such file, not a CSV in UTF-8, a column is missing or occurs twice, a
            row has too few or too many fields, or an id is not plain or occurs twice.
    """
    (_, header), *lines = _read_lines(path) or [(1, [])]
    kept = _kept_columns(path, header, columns, optional)
    places = [header.index(name) for name in kept]
    _check_widths(path, header, lines)
    table = pd.DataFrame(
        [[fields[place] for place in places] for _, fields in lines],
        columns=kept,
        index=pd.Index([line for line, _ in lines], name="line"),
        dtype=object,
    )
    _check_ids(path, table["id"])
    return table


def is_plain_id(name: str) -> bool:
    """Tell whether an id may name a file: letters, digits, `_` and `-`, at most 64 of them."""
    return PLAIN_ID.fullmatch(name) is not None


def numbers(path: Path, column: pd.Series) -> np.ndarray:
    """Return a text column as float64 [rows]; an empty field is NaN, unknown.

    Raises:
        InputError: a field is not a finite number.
    """
    return np.array([_number(path, *item, str(column.name)) for item in column.items()], np.float64)


def whole_numbers(path: Path, column: pd.Series) -> np.ndarray:
    """Return a text column as int64 [rows].

    Raises:
        InputError: a field is not a whole number.
    """
    values = numbers(path, column)
    wrong = np.flatnonzero(~(np.abs(values) < 2**53) | (values != np.floor(values)))
    if len(wrong):
        line, text = column.index[wrong[0]], column.iloc[wrong[0]]
        raise InputError(
            f"{path} line {line}: {column.name} is {text!r}; expected a whole number. "
            "Correct the line."
        )
    return values.astype(np.int64)


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, fields) of every line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            return [(reader.line_num, fields) for fields in reader if fields]
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; expected Kaggle's {path.name}. Put it there."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not a table in CSV ({error}); expected Kaggle's {path.name}. "
            "Download it again."
        ) from error


def _kept_columns(
    path: Path, header: list[str], columns: tuple[str, ...], optional: tuple[str, ...]
) -> list[str]:
    """Return the columns to keep, each of which is there once."""
    for name in columns:
        if name not in header:
            raise InputError(
                f"{path}: columns {','.join(header)[:80]!r}, no {name!r}; expected "
                f"{','.join((*columns, *optional))}. Take Kaggle's file, or add the column."
            )
    kept = [name for name in (*columns, *optional) if name in header]
    if any(header.count(name) > 1 for name in kept):
        raise InputError(
            f"{path}: a column occurs twice in {','.join(header)[:80]!r}; expected each once. "
            "Remove the others."
        )
    return kept


def _check_widths(path: Path, header: list[str], lines: list[tuple[int, list[str]]]) -> None:
    """Require rows, each with as many fields as the header."""
    if not lines:
        raise InputError(
            f"{path}: no rows below its header; expected one for each tile. Take Kaggle's file."
        )
    for line, fields in lines:
        if len(fields) != len(header):
            raise InputError(
                f"{path} line {line}: {len(fields)} fields; expected {len(header)} "
                f"({','.join(header)[:80]}). Correct the line or take Kaggle's file again."
            )


def _check_ids(path: Path, ids: pd.Series) -> None:
    for line, name in ids.items():
        if not is_plain_id(name):
            raise InputError(
                f"{path} line {line}: id {name[:80]!r} is not a plain name; expected 1 to 64 "
                "letters, digits, _ or -. Correct the line."
            )
    repeated = ids[ids.duplicated()]
    if len(repeated):
        line, name = repeated.index[0], repeated.iloc[0]
        raise InputError(
            f"{path} line {line}: id {name!r} is already in line {ids.index[ids == name][0]}; "
            "expected each id once. Remove one of the lines."
        )


def _number(path: Path, line: object, text: str, name: str) -> float:
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise InputError(
            f"{path} line {line}: {name} is {text[:80]!r}; expected a number, or nothing where "
            "it is unknown. Correct the line."
        )
    return value

"""The submission: one row `id,rle_mask` per test tile, exactly the sample's ids in its order.

`python -m salt.infer.submission FILE [SAMPLE]` validates any submission, .csv or .csv.gz,
and says which row breaks the competition's format; with `--upload -m MESSAGE` it then submits
the file through Kaggle's own client.
"""

import argparse
import csv
import gzip
import io
import sys
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.errors import InputError, StoreError, SubmissionError, reported_errors
from salt.files import read_array, read_csv, write_json, write_text
from salt.infer.drift import coverage_statistics, drift_warnings
from salt.infer.rule import Rule, apply_rule
from salt.infer.threshold import read_rule
from salt.infer.upload import upload
from salt.rle import decode, encode
from salt.store import TILE_SIZE, TRAIN

HEADER = ["id", "rle_mask"]
SAMPLE = Path("data/ingest/sample_submission.csv")
_TILES_AT_ONCE = 256  # 5 MB of probabilities


@dataclass(frozen=True)
class Row:
    """A row of a submission and the line of the file it ends on, counted from 1."""

    line: int
    id: str
    rle_mask: str


def make_submission(ensemble: Path, rule_file: Path, ingest: Path, output: Path) -> list[str]:
    """Write `submission.csv` and `summary.json` to `output`; return warnings for people.

    Args:
        ensemble: folder of `test_probability.npy` and `test_tiles.csv` (id, presence).
        rule_file: the threshold stage's `rule.json`.
        ingest: folder of `sample_submission.csv` and of the tile store's `tiles.csv`, whose
            training tiles the coverage of the predictions is compared with.
        output: folder to write to.

    Raises:
        StoreError: the inputs are incomplete, or do not belong together.
        SubmissionError: the sample is malformed.
    """
    rule = read_rule(rule_file)
    sample = ingest / "sample_submission.csv"
    sample_ids = read_sample_ids(sample)
    probability = read_array(ensemble / "test_probability.npy")
    tiles = _read_test_tiles(ensemble / "test_tiles.csv", sample_ids, probability.shape)
    runs = _encode_tiles(probability, tiles["presence"].to_numpy(np.float64), rule)
    run_of = dict(zip(tiles["id"], runs, strict=True))
    text = _as_text(sample_ids, [run_of[name] for name in sample_ids])
    coverage = validate_rows(_parse(text, "submission.csv"), sample_ids, "submission.csv")
    summary = {"rule": asdict(rule)} | _compare_with_training(coverage, ingest / "tiles.csv")
    write_text(output / "submission.csv", text)
    write_json(output / "summary.json", summary)
    return list(summary["warnings"])


def validate_submission(path: Path, sample: Path) -> np.ndarray:
    """Check a submission against the sample; return each tile's share of salt, float64 [n].

    Raises:
        SubmissionError: wrong columns, ids that are missing, unknown, repeated or out of the
            sample's order, or run lengths that are malformed, overlap or leave the tile; the
            message names the first such line and its id.
    """
    return validate_rows(_read_rows(path), read_sample_ids(sample), str(path))


def validate_rows(rows: list[Row], sample_ids: list[str], name: str) -> np.ndarray:
    """Do the work of `validate_submission` on rows already read from the file `name`."""
    _check_ids(rows, sample_ids, name)
    coverage = np.empty(len(rows))
    for index, row in enumerate(tqdm(rows, desc="validate", unit="tile", mininterval=1.0, delay=2)):
        try:
            coverage[index] = decode(row.rle_mask, TILE_SIZE, TILE_SIZE).mean()
        except InputError as error:
            raise SubmissionError(f"{name}, line {row.line}, id {row.id!r}: {error}") from None
    return coverage


def read_sample_ids(path: Path) -> list[str]:
    """Return the ids of a sample submission in its order; its masks do not matter.

    Raises:
        SubmissionError: no such file, wrong columns, no rows, or a repeated id.
    """
    rows = _read_rows(path)
    if not rows:
        raise SubmissionError(f"{path}: no rows; expected the test ids. Get the sample again.")
    _check_unique(rows, str(path))
    return [row.id for row in rows]


def _read_test_tiles(path: Path, sample_ids: list[str], shape: tuple[int, ...]) -> pd.DataFrame:
    """Read the table of the test maps, whose array has this shape, and check it fits the sample."""
    tiles = read_csv(path)
    missing = [name for name in ("id", "presence") if name not in tiles.columns]
    if missing or shape != (len(tiles), TILE_SIZE, TILE_SIZE):
        problem = f"no column {missing[0]!r}" if missing else f"{len(tiles)} rows for maps {shape}"
        raise StoreError(
            f"{path}: {problem}; expected id, presence of each map of {TILE_SIZE}x{TILE_SIZE} "
            "pixels. Rerun the ensemble stage."
        )
    found, wanted = Counter(tiles["id"]), Counter(sample_ids)
    astray = [name for name in wanted | found if found[name] != wanted[name]]
    if astray:
        raise StoreError(
            f"{path}: id {astray[0]!r} occurs {found[astray[0]]} times, in the sample submission "
            f"{wanted[astray[0]]} times ({len(astray)} such ids); expected the sample's ids, once "
            "each. Rerun the ensemble stage."
        )
    return tiles


def _encode_tiles(probability: np.ndarray, presence: np.ndarray, rule: Rule) -> list[str]:
    """Return the run lengths of each map [n, H, W], reading a part of them at a time."""
    runs: list[str] = []
    with tqdm(total=len(probability), desc="submit", unit="tile", mininterval=1.0) as progress:
        for start in range(0, len(probability), _TILES_AT_ONCE):
            part = slice(start, start + _TILES_AT_ONCE)
            masks = apply_rule(probability[part], presence[part], rule)
            runs += map(encode, masks)
            progress.update(len(masks))
    return runs


def _compare_with_training(coverage: np.ndarray, tiles_file: Path) -> dict[str, Any]:
    tiles = read_csv(tiles_file)
    training = tiles["salt_fraction"][tiles["split"] == TRAIN].to_numpy(np.float64)
    return {
        "submission": coverage_statistics(coverage),
        "training": coverage_statistics(training),
        "warnings": drift_warnings(coverage, training),
    }


def _as_text(ids: list[str], runs: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(zip(ids, runs, strict=True))
    return buffer.getvalue()


def _read_rows(path: Path) -> list[Row]:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SubmissionError(
            f"{path}: cannot be read ({reason}); expected a CSV file, or one in .gz. "
            "Give the path of a submission."
        ) from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> list[Row]:
    """Split the text into rows, refusing a wrong header or number of fields."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        if header != HEADER:
            raise SubmissionError(
                f"{name}, line 1: columns {header}; expected {HEADER}. Rename or remove columns."
            )
        rows = []
        for fields in reader:
            if len(fields) != len(HEADER):
                raise SubmissionError(
                    f"{name}, line {reader.line_num}: {len(fields)} fields; expected "
                    f"{len(HEADER)}, `id,rle_mask`. Mend or remove the line."
                )
            rows.append(Row(reader.line_num, *fields))
        return rows
    except csv.Error as error:
        raise SubmissionError(
            f"{name}, line {reader.line_num}: not CSV ({error}); expected `id,rle_mask`. "
            "Write the file again."
        ) from None


def _check_ids(rows: list[Row], sample_ids: list[str], name: str) -> None:
    _check_unique(rows, name)
    known, present = set(sample_ids), {row.id for row in rows}
    extra = [row for row in rows if row.id not in known]
    if extra:
        raise SubmissionError(
            f"{name}, line {extra[0].line}: id {extra[0].id!r} is not in the sample ({len(extra)} "
            f"such rows); expected its {len(sample_ids)} ids only. Remove the row."
        )
    missing = [(row, id_) for row, id_ in enumerate(sample_ids) if id_ not in present]
    if missing:
        row, id_ = missing[0]
        raise SubmissionError(
            f"{name}: no row for id {id_!r}, row {row + 1} of the sample ({len(missing)} such "
            f"ids); expected all {len(sample_ids)} ids. Add it, with an empty mask if need be."
        )
    for row_read, expected in zip(rows, sample_ids, strict=True):
        if row_read.id != expected:
            raise SubmissionError(
                f"{name}, line {row_read.line}: id {row_read.id!r} out of order; expected "
                f"{expected!r}. Sort the rows as in the sample."
            )


def _check_unique(rows: list[Row], name: str) -> None:
    first_line: dict[str, int] = {}
    for row in rows:
        if row.id in first_line:
            raise SubmissionError(
                f"{name}, line {row.line}: id {row.id!r} again, first on line "
                f"{first_line[row.id]}; expected each id once. Remove one of the two."
            )
        first_line[row.id] = row.line


def main(arguments: list[str]) -> None:
    """Validate a submission, print how much salt it holds, and upload it if asked to.

    Raises:
        SubmissionError: the submission is not valid, or the upload failed.
        MissingPackageError: there is no client to upload with.
    """
    parser = argparse.ArgumentParser(prog="python -m salt.infer.submission")
    parser.add_argument("file", type=Path, help="the submission, .csv or .csv.gz")
    parser.add_argument("sample", type=Path, nargs="?", default=SAMPLE, help=f"default {SAMPLE}")
    parser.add_argument("--upload", action="store_true", help="submit it to Kaggle if it is valid")
    parser.add_argument("-m", "--message", default="", help="the upload's description")
    options = parser.parse_args(arguments)
    statistics = coverage_statistics(validate_submission(options.file, options.sample))
    print(
        f"{options.file}: valid; {statistics['tiles']} rows, {statistics['empty_share']:.1%} "
        f"without salt, {statistics['mean_coverage']:.1%} of all pixels salt"
    )
    if options.upload:
        print(upload(options.file, options.message))


if __name__ == "__main__":
    with reported_errors():
        main(sys.argv[1:])

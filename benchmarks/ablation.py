"""Ablations at equal budget: each row trains the same folds with one thing changed.

    python -m salt.profiles tgs-cpu
    python -m benchmarks.ablation benchmarks/ablations.yaml [ROW ...]

A row is a set of parameters over those of params.yaml and the table's `budget`. Its folds
(the table's, or its own) are trained by the pipeline itself (`dvc repro train@FOLD`, which
reuses every stage that the row does not touch; a row with `stage: student` trains the second
round); their out-of-fold maps are scored tile by tile, in a single pass at threshold 0.5, and
compared with the reference row (the table's, or its own) by a paired bootstrap over the tiles
that both have scored. Finished rows are kept in benchmarks/results/TABLE.json and not run again,
so a killed table goes on where it stopped; params.yaml and dvc.lock are put back at the end,
after a kill by the next start.
docs/TABLE.md is written from the results after every row. Start it in a clone of its own: it
changes params.yaml while it runs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from salt.errors import InputError, StoreError, reported_errors
from salt.files import read_array, read_csv, read_json, write_json, write_text
from salt.metrics import FULL_TENTHS, paired_gain, tile_scores
from salt.params import PARAMS_FILE, parse_params, read_yaml
from salt.profiles import merged
from salt.provenance import commit
from salt.seeding import generator
from salt.store import open_store

RESULTS = Path(__file__).parent / "results"
PAGES = Path("docs")
RESAMPLES = 10_000
LOCK = Path("dvc.lock")
COPIES = Path(".salt/ablation")  # params.yaml and dvc.lock as they were, while a table runs
KEYS = ("title", "about", "budget", "folds", "reference", "rows")
UNSCORED = "."
DIGITS = "0123456789A"  # tenths of a score
FIRST, SECOND = "train", "student"  # a row's stage


def main() -> None:
    """Run what is missing of a table, row by row, and keep its page up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("table", type=Path, help=f"YAML file: {', '.join(KEYS)}")
    parser.add_argument("rows", nargs="*", help="names of the rows to run; all where none is given")
    arguments = parser.parse_args()
    table = read_table(arguments.table)
    name = arguments.table.stem
    path, page = RESULTS / f"{name}.json", PAGES / f"{name}.md"
    results = read_json(path) if path.exists() else {}
    with restored(PARAMS_FILE, LOCK, copies=COPIES):
        base = merged(read_yaml(PARAMS_FILE), table["budget"])
        for row in chosen_rows(table, arguments.rows):
            settings = merged(base, row["set"])
            key = {"folds": row.get("folds", table["folds"]), "settings": settings}
            if "stage" in row:
                key["stage"] = row["stage"]
            if results.get(row["name"], {}).get("key") != key:
                print(f"{table['title']}: {row['name']}", file=sys.stderr, flush=True)
                results[row["name"]] = run_row(**key) | {"key": key}
                write_json(path, results)
            write_text(page, render_page(table, results))
    print(f"benchmarks/ablation: {path}, {page}")


def chosen_rows(table: Mapping[str, Any], names: list[str]) -> list[Mapping[str, Any]]:
    """Return the rows of these names in the table's order, all if none is named.

    Raises:
        InputError: there is no such row.
    """
    known = [row["name"] for row in table["rows"]]
    if unknown := sorted(set(names) - set(known)):
        raise InputError(f"no row {unknown}; expected some of {known}. Look into the table.")
    return [row for row in table["rows"] if not names or row["name"] in names]


def read_table(path: Path) -> dict[str, Any]:
    """Read and check a table.

    Raises:
        InputError: a key is missing, or a row's name is there twice.
    """
    table = dict(read_yaml(path))
    missing = set(KEYS) - set(table)
    names = [row.get("name") for row in table.get("rows", [])]
    references = {table.get("reference")} | {row.get("reference") for row in table.get("rows", [])}
    stages = {row.get("stage", FIRST) for row in table.get("rows", [])}
    wrong = len(set(names)) < len(names) or not references - {None} <= set(names)
    if missing or wrong or not stages <= {FIRST, SECOND}:
        raise InputError(
            f"{path}: got keys {sorted(table)} and rows {names}; expected {', '.join(KEYS)}, rows "
            f"with different names, references among them, and {FIRST} or {SECOND} as a row's "
            "stage. Mend the table."
        )
    return table


def run_row(settings: Mapping[str, Any], folds: list[int], stage: str = FIRST) -> dict[str, Any]:
    """Train the folds with these parameters up to `stage` and score their out-of-fold tiles."""
    parse_params(settings, "the row's parameters")
    write_text(PARAMS_FILE, json.dumps(settings, indent=1))  # JSON is YAML
    started = time.monotonic()
    for fold in folds:
        subprocess.run(["dvc", "repro", "--quiet", f"{stage}@{fold}"], check=True)
    seconds = time.monotonic() - started
    tenths = score_folds(folds, Path("data") / stage)
    return {
        "score": round(float(tenths[tenths >= 0].mean()) / FULL_TENTHS, 6),
        "seconds": round(seconds),
        "tenths": "".join(UNSCORED if value < 0 else DIGITS[value] for value in tenths),
        "cpus": os.cpu_count(),
        "commit": commit(),
    }


def score_folds(folds: list[int], trained: Path) -> np.ndarray:
    """Score the tiles of a stage's folds: tenths int64 [n] of all labelled, -1 where not theirs.

    Raises:
        StoreError: a fold has predicted tiles that have no truth.
    """
    store = open_store(Path("data/ingest"))
    tenths = np.full(len(store.masks), -1)
    for fold in folds:
        folder = trained / str(fold)
        rows = store.rows_of(list(read_csv(folder / "oof_tiles.csv")["id"]))
        if rows.max(initial=-1) >= len(store.masks):
            raise StoreError(f"{folder}: tiles without truth; expected labelled ones. Rerun it.")
        masks = read_array(folder / "oof_probability.npy") > np.float16(0.5)
        scores = tile_scores(masks, store.masks[rows], store.ignore[rows])
        tenths[rows] = np.rint(scores * FULL_TENTHS)
    return tenths


def render_page(table: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Return the table's page: every row, with its settings, score and paired gain."""
    budget = ", ".join(f"{key} {json.dumps(value)}" for key, value in flat(table["budget"]).items())
    lines = [
        f"# {table['title']}",
        "",
        *table["about"].strip().splitlines(),
        "",
        f"Fold {', '.join(map(str, table['folds']))} unless a row says otherwise; a single pass at "
        f"threshold 0.5 on tiles that no row saw in training. Equal for all rows: {budget}. A gain "
        f"is over *{table['reference']}* unless a row says otherwise, with its 95 % interval from "
        f"{RESAMPLES:,} paired resamples of the tiles; where the interval includes zero the row "
        "may have done nothing. One seed each: training again with another seed can move a score "
        "by as much as many of these gains.",
        "",
        "Each row is `python -m salt.profiles tgs-cpu`, the budget and the row's settings with "
        "`dvc exp run -S ... train@FOLD` (`student@FOLD` for a second round); "
        "`python -m benchmarks.ablation` runs them all.",
        "",
        "| Row | Settings | Tiles | Score | Gain | 95 % interval | Seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_table_line(row, results, table["reference"]) for row in table["rows"]]
    return "\n".join(lines) + "\n"


def _table_line(row: Mapping[str, Any], results: Mapping[str, Any], reference: str) -> str:
    settings = " ".join(f"`{key}={json.dumps(value)}`" for key, value in flat(row["set"]).items())
    settings = f"{'second round ' if row.get('stage') == SECOND else ''}{settings}".strip()
    if row["name"] not in results:
        return f"| {row['name']} | {settings} | not run yet | | | | |"
    result, reference = results[row["name"]], row.get("reference", reference)
    scores = tile_values(result)
    cells = [row["name"], settings or "the budget alone", f"{np.isfinite(scores).sum()}"]
    cells.append(f"{result['score']:.4f}")
    if row["name"] == reference or reference not in results:
        cells += ["", ""]
    else:
        others = tile_values(results[reference])
        both = np.isfinite(scores) & np.isfinite(others)
        draw = generator(0, "ablation", row["name"])
        gain = paired_gain(scores[both], others[both], RESAMPLES, draw)
        over = f" over *{reference}*" if "reference" in row else ""
        cells += [f"{gain.mean:+.4f}{over}", f"{gain.low:+.4f} to {gain.high:+.4f}"]
    return f"| {' | '.join([*cells, str(result['seconds'])])} |"


def tile_values(result: Mapping[str, Any]) -> np.ndarray:
    """Return a result's tile scores, float64 [n], NaN where a tile was not scored."""
    tenths = [np.nan if digit == UNSCORED else int(digit, 16) for digit in result["tenths"]]
    return np.array(tenths, np.float64) / FULL_TENTHS


def flat(settings: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return `section.key: value` for nested settings."""
    items: dict[str, Any] = {}
    for key, value in settings.items():
        items |= flat(value, f"{path}{key}.") if isinstance(value, Mapping) else {path + key: value}
    return items


@contextmanager
def restored(*paths: Path, copies: Path) -> Iterator[None]:
    """Put the files' content back at the end, which SIGTERM is as well.

    What a kill left changed is put back first, from the copies that are kept until the end.
    """
    kept = {path: copies / path.name for path in paths}
    for path, copy in kept.items():
        if copy.exists():
            print(f"{path}: put back as it was before a killed run", file=sys.stderr)
            write_text(path, copy.read_text())
        write_text(copy, path.read_text())
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for path, copy in kept.items():
            write_text(path, copy.read_text())
            copy.unlink()


if __name__ == "__main__":
    with reported_errors():
        main()

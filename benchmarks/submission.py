"""Maps to a validated submission of 19,000 rows, against the pixel loop of many notebooks.

    python -m benchmarks.submission [--write]

The maps are modelled, at the size of the TGS test split. Ours applies the decision rule, encodes
runs, writes the file, reads it back and validates every row against the sample, and compares the
coverage with training's. The plain way cuts at the same threshold, walks through every pixel in
Python to find the runs, and writes the rows with pandas; it checks nothing. Both files must be
equal to the byte.
"""

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.threshold_search import draw_tiles
from salt.files import new_array, write_csv, write_json
from salt.infer.rule import Rule
from salt.infer.submission import make_submission
from salt.store import TILE_SIZE

RESULT = Path(__file__).parent / "results" / "submission.json"
ROWS, MODELLED = 19_000, 1_000  # rows of the file; different maps among them
RULE = Rule(threshold=0.5, minimum_size=0, presence_gate=0.0)
REPEATS = 3  # of our way; the fastest counts


def main() -> None:
    """Write the same submission both ways and compare time and bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULT}")
    write = parser.parse_args().write
    with TemporaryDirectory() as folder:
        paths = lay_out(Path(folder))
        seconds = min(timed(make_submission, **paths) for _ in range(REPEATS))
        plain = Path(folder) / "plain.csv"
        plain_seconds = timed(plain_submission, paths["ensemble"], plain)
        ours = paths["output"] / "submission.csv"
        result: dict[str, Any] = {
            "rows": ROWS,
            "seconds": round(seconds, 2),
            "plain_seconds": round(plain_seconds, 2),
            "speedup": round(plain_seconds / seconds, 1),
            "equal": ours.read_bytes() == plain.read_bytes(),
            "machine": {"cpus": os.cpu_count()},
        }
    for name, value in result.items():
        print(f"{name:14} {value}")
    if write:
        write_json(RESULT, result)


def lay_out(folder: Path) -> dict[str, Path]:
    """Write what the submit stage reads; return the arguments of `make_submission`."""
    paths = {name: folder / name for name in ("ensemble", "ingest", "output")}
    modelled = draw_tiles(MODELLED)
    ids = [f"{row:010x}" for row in range(ROWS)]
    shape = (ROWS, TILE_SIZE, TILE_SIZE)
    with new_array(paths["ensemble"] / "test_probability.npy", shape, np.float16) as maps:
        for row in range(ROWS):
            maps[row] = modelled["probability"][row % MODELLED]
    write_csv(paths["ensemble"] / "test_tiles.csv", pd.DataFrame({"id": ids, "presence": np.nan}))
    write_csv(
        paths["ingest"] / "sample_submission.csv", pd.DataFrame({"id": ids, "rle_mask": "1 1"})
    )
    training = {"split": "train", "salt_fraction": modelled["truths"].mean(axis=(1, 2))}
    write_csv(paths["ingest"] / "tiles.csv", pd.DataFrame(training))
    write_json(folder / "rule.json", asdict(RULE))
    return paths | {"rule_file": folder / "rule.json"}


def timed(work: Any, *arguments: Any, **named: Any) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work(*arguments, **named)
    return time.perf_counter() - started


def plain_submission(ensemble: Path, out: Path) -> None:
    """Encode pixel by pixel and write with pandas, without a check."""
    maps = np.load(ensemble / "test_probability.npy", mmap_mode="r")
    ids = pd.read_csv(ensemble / "test_tiles.csv", dtype=str)["id"]
    runs = [walked_runs(tile >= RULE.threshold) for tile in tqdm(maps, desc="plain loop")]
    pd.DataFrame({"id": ids, "rle_mask": runs}).to_csv(out, index=False)


def walked_runs(mask: np.ndarray) -> str:
    """Return the run lengths of a mask [H, W] by looking at one pixel after the other."""
    runs: list[int] = []
    length = 0
    for place, pixel in enumerate([*mask.ravel(order="F").tolist(), False]):
        if pixel:
            length += 1
        elif length:
            runs += [place - length + 1, length]
            length = 0
    return " ".join(map(str, runs))


if __name__ == "__main__":
    main()

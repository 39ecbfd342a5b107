"""What the convolutional CRF does to the out-of-fold score of a finished run.

    python -m benchmarks.crf [--run data] [--write]

The run's out-of-fold maps with and without mean-field steps; each is decided by rules chosen
on the other folds. `gain` is the mean paired difference over tiles with its 95 % interval.
The run's maps must not have been smoothed already (`postprocess.crf_iterations: 0`).
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from salt.files import read_array, read_csv, write_json
from salt.infer.crf import smooth_by_image
from salt.infer.evidence import gather_evidence
from salt.infer.rule import Grid
from salt.infer.threshold import choose_rule
from salt.metrics import paired_gain
from salt.params import load_params
from salt.seeding import generator
from salt.store import open_store

RESULT = Path(__file__).parent / "results" / "crf.json"
ITERATIONS = (0, 1, 3, 5)
SEED, RESAMPLES = 2018, 2000


def main() -> None:
    """Score every number of iterations and compare it with none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("data"), help="a finished run's data")
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULT}")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    scores: dict[int, np.ndarray] = {}
    for iterations in ITERATIONS:
        started = time.perf_counter()
        scores[iterations] = out_of_fold_scores(arguments.run, iterations)
        seconds = time.perf_counter() - started
        draw = generator(SEED, "crf", iterations)
        gain = paired_gain(scores[iterations], scores[0], RESAMPLES, draw)
        rows.append({"iterations": iterations, "score": float(scores[iterations].mean())})
        rows[-1] |= {"gain": gain._asdict(), "seconds": round(seconds, 1)}
        print(rows[-1])
    if arguments.write:
        write_json(RESULT, {"rows": rows, "machine": {"cpus": os.cpu_count()}})


def out_of_fold_scores(run: Path, iterations: int) -> np.ndarray:
    """Return each labelled tile's score [n] under the rule that the other folds chose."""
    store, settings = open_store(run / "ingest"), load_params().threshold
    tiles = read_csv(run / "ensemble/oof_tiles.csv")
    maps = read_array(run / "ensemble/oof_probability.npy")
    if iterations:
        maps = smooth_by_image(maps, store.images, iterations).astype(np.float16)
    grid = Grid.spanning(**settings.model_dump())
    presence = tiles["presence"].to_numpy(np.float64)
    evidence = gather_evidence(maps, presence, store.masks, store.ignore, grid)
    return choose_rule(evidence, tiles["fold"].to_numpy()).scores


if __name__ == "__main__":
    main()

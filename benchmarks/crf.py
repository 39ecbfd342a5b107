"""What the convolutional CRF does to the out-of-fold score of a finished run.

    python -m benchmarks.crf [--run data] [--write]

The run's out-of-fold maps with and without mean-field steps; each is decided by rules chosen
on the other folds. `gain` is the mean paired difference over tiles with its 95 % interval.
The run's maps must not have been smoothed already (`postprocess.crf_iterations: 0`).

`cost` is that of a step on one tile, beside the plain way: the equation of the mean field
written out, pixel by pixel and neighbour by neighbour. Both must give the same map.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from salt.files import read_array, read_csv, write_json
from salt.infer.crf import (
    APPEARANCE,
    CERTAIN,
    GREY_SPREAD,
    REACH,
    SMOOTHNESS,
    SPREAD,
    smooth_by_image,
)
from salt.infer.evidence import gather_evidence
from salt.infer.rule import Grid
from salt.infer.threshold import choose_rule
from salt.metrics import paired_gain
from salt.params import load_params
from salt.seeding import generator
from salt.store import TILE_SIZE, open_store

RESULT = Path(__file__).parent / "results" / "crf.json"
ITERATIONS = (0, 1, 3, 5)
SEED, RESAMPLES = 2018, 2000
COST_TILES = 64


def main() -> None:
    """Score every number of iterations and compare it with none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("data"), help="a finished run's data")
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULT}")
    arguments = parser.parse_args()
    cost = measure_cost()
    print(cost)
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
        write_json(RESULT, {"rows": rows, "cost": cost, "machine": {"cpus": os.cpu_count()}})


def measure_cost() -> dict[str, float]:
    """Time a step on random tiles both ways."""
    draw = generator(SEED, "crf cost")
    maps = draw.random((COST_TILES, TILE_SIZE, TILE_SIZE)).astype(np.float32)
    images = draw.integers(0, 256, maps.shape).astype(np.uint8)
    started = time.perf_counter()
    smoothed = smooth_by_image(maps, images, 1)
    seconds = (time.perf_counter() - started) / COST_TILES
    started = time.perf_counter()
    plain = plain_step(maps[0].astype(np.float64), images[0].astype(np.float64))
    plain_seconds = time.perf_counter() - started
    return {
        "seconds_a_tile": round(seconds, 5),
        "plain_seconds_a_tile": round(plain_seconds, 3),
        "speedup": round(plain_seconds / seconds, 1),
        "largest_difference": float(np.abs(smoothed[0] - plain).max()),
    }


def plain_step(probability: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return one mean-field step of one tile [H, W], every pixel on its own."""
    stepped = np.empty_like(probability)
    height, width = grey.shape
    for row, column in np.ndindex(height, width):
        messages, sums = np.zeros(2), np.zeros(2)
        for r in range(max(row - REACH, 0), min(row + REACH + 1, height)):
            for c in range(max(column - REACH, 0), min(column + REACH + 1, width)):
                if (r, c) != (row, column):
                    near = np.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * SPREAD**2))
                    difference = (grey[r, c] - grey[row, column]) / GREY_SPREAD
                    weights = near * np.array([np.exp(-(difference**2) / 2), 1.0])
                    messages += weights * (2 * probability[r, c] - 1)
                    sums += weights
        pull = np.array([APPEARANCE, SMOOTHNESS]) @ (messages / sums)
        unary = logit(probability[row, column].clip(CERTAIN, 1 - CERTAIN))
        stepped[row, column] = expit(unary + pull)
    return stepped


def out_of_fold_scores(run: Path, iterations: int) -> np.ndarray:
    """Return each labelled tile's score [n] under the rule that the other folds chose."""
    store, settings = open_store(run / "ingest"), load_params().threshold
    tiles = read_csv(run / "ensemble/oof_tiles.csv")
    maps = read_array(run / "ensemble/oof_probability.npy")
    if iterations:
        maps = smooth_by_image(maps, store.images[: len(maps)], iterations).astype(np.float16)
    grid = Grid.spanning(**settings.model_dump())
    presence = tiles["presence"].to_numpy(np.float64)
    evidence = gather_evidence(maps, presence, store.masks, store.ignore, grid)
    return choose_rule(evidence, tiles["fold"].to_numpy()).scores


if __name__ == "__main__":
    main()

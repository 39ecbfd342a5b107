"""Cost of calibrating maps; `--write` records benchmarks/results/calibration.json.

    python -m benchmarks.calibration [--tiles 4000] [--write]

Cross-fitted temperatures of five folds, with the calibration errors before and after, from
one histogram of the stored float16 maps (`salt.infer.calibration`); beside it the plain way,
which evaluates the log loss over every pixel for each temperature that the optimiser tries,
here for a single temperature. Maps are drawn: logits that are right, made 2.5 times too large.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from salt.files import write_json
from salt.infer.calibration import (
    SATURATION,
    TEMPERATURES,
    calibrate,
    calibration_error,
    count_outcomes,
    fit_temperature,
)
from salt.seeding import generator
from salt.store import TILE_SIZE

RESULT = Path(__file__).parent / "results" / "calibration.json"
FOLDS, SHARPNESS = 5, 2.5
CHUNK = 100  # tiles drawn at a time


def main() -> None:
    """Measure both ways, print them and write the result if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=4000)
    parser.add_argument("--write", action="store_true", help="record the figures")
    options = parser.parse_args()
    probability, truths = draw_maps(options.tiles)
    everything, all_seconds = timed(lambda: calibrate_folds(probability, truths))
    ours, our_seconds = timed(lambda: fit_temperature(count_outcomes(probability, truths)))
    plain, plain_seconds = timed(lambda: plain_temperature(probability, truths))
    result: dict[str, Any] = {
        "tiles": options.tiles,
        "pixels": probability.size,
        "seconds": round(all_seconds, 2),
        "one_temperature_seconds": round(our_seconds, 2),
        "plain_one_temperature_seconds": round(plain_seconds, 2),
        "speedup": round(plain_seconds / our_seconds, 1),
        "temperature": round(ours, 5),
        "difference_of_temperatures": float(f"{abs(ours - plain):.1e}"),
        "calibration_error": {name: round(value, 5) for name, value in everything.items()},
        "machine": {"cpus": os.cpu_count()},
    }
    for name, value in result.items():
        print(f"{name:32} {value}")
    if options.write:
        write_json(RESULT, result)


def draw_maps(tiles: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float16 maps and masks [n, 101, 101]."""
    draw = generator(2018, "calibration benchmark")
    shape = (tiles, TILE_SIZE, TILE_SIZE)
    probability, truths = np.empty(shape, np.float16), np.empty(shape, np.uint8)
    for start in range(0, tiles, CHUNK):
        part = slice(start, start + CHUNK)
        odds = draw.normal(-1, 2, truths[part].shape)
        probability[part] = expit(SHARPNESS * odds)
        truths[part] = draw.random(odds.shape) < expit(odds)
    return probability, truths


def calibrate_folds(probability: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """Calibrate out of fold; return the errors before and after."""
    outcomes = {
        fold: count_outcomes(probability[fold::FOLDS], truths[fold::FOLDS]) for fold in range(FOLDS)
    }
    found = calibrate(outcomes)
    return {
        "before": calibration_error(found.before),
        "after": calibration_error(found.after),
    }


def plain_temperature(probability: np.ndarray, truths: np.ndarray) -> float:
    """Minimise the log loss over every pixel."""
    z = logit(probability.astype(np.float32).clip(SATURATION, 1 - SATURATION)).ravel()
    signed = np.where(truths.ravel() > 0, -z, z)

    def loss(log_temperature: float) -> float:
        return np.logaddexp(0, signed / np.exp(np.float32(log_temperature))).mean(dtype=np.float64)

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and its wall-clock seconds."""
    started = time.perf_counter()
    returned = function()
    return returned, time.perf_counter() - started


if __name__ == "__main__":
    main()

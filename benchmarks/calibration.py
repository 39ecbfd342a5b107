"""Cost of calibrating maps; `--write` records benchmarks/results/calibration.json.

    python -m benchmarks.calibration [--tiles 4000] [--run data] [--write]

Cross-fitted temperatures of the folds, with the calibration errors before and after, from
one histogram of the stored float16 maps (`salt.infer.calibration`); beside it the plain way,
which evaluates the log loss over every pixel for each temperature that the optimiser tries,
here for a single temperature. `drawn` maps are logits that are right, made 2.5 times too large;
`run` are the out-of-fold maps of a finished run (`--run`, a folder with ingest and ensemble).
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

from salt.files import read_array, read_csv, write_json
from salt.infer.calibration import (
    SATURATION,
    TEMPERATURES,
    Calibration,
    brier_score,
    calibrate,
    calibration_error,
    count_outcomes,
    fit_temperature,
)
from salt.seeding import generator
from salt.store import TILE_SIZE, open_store

RESULT = Path(__file__).parent / "results" / "calibration.json"
FOLDS, SHARPNESS = 5, 2.5
CHUNK = 100  # tiles drawn at a time


def main() -> None:
    """Measure both ways, print them and write the result if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=4000)
    parser.add_argument("--run", type=Path, default=Path("data"), help="a finished run's data")
    parser.add_argument("--write", action="store_true", help="record the figures")
    options = parser.parse_args()
    result: dict[str, Any] = {"drawn": measure(*draw_maps(options.tiles))}
    if (options.run / "ensemble/oof_probability.npy").exists():
        result["run"] = measure(*read_maps(options.run))
    else:
        print(f"no finished run in {options.run}: only drawn maps are measured")
    for source, figures in result.items():
        print(source)
        for name, value in figures.items():
            print(f"  {name:32} {value}")
    if options.write:
        write_json(RESULT, result | {"machine": {"cpus": os.cpu_count()}})


def measure(probability: np.ndarray, truths: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Return the figures of both ways on the same maps; `folds` is [n]."""
    found, all_seconds = timed(lambda: calibrate_folds(probability, truths, folds))
    ours, our_seconds = timed(lambda: fit_temperature(count_outcomes(probability, truths)))
    plain, plain_seconds = timed(lambda: plain_temperature(probability, truths))
    states = {"before": found.before, "after": found.after}
    return {
        "tiles": len(probability),
        "pixels": probability.size,
        "seconds": round(all_seconds, 2),
        "one_temperature_seconds": round(our_seconds, 2),
        "plain_one_temperature_seconds": round(plain_seconds, 2),
        "speedup": round(plain_seconds / our_seconds, 1),
        "temperature": round(ours, 5),
        "difference_of_temperatures": float(f"{abs(ours - plain):.1e}"),
        "calibration_error": {k: round(calibration_error(v), 5) for k, v in states.items()},
        "brier_score": {k: round(brier_score(v).score, 5) for k, v in states.items()},
    }


def draw_maps(tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float16 maps and masks [n, 101, 101], and folds [n]."""
    draw = generator(2018, "calibration benchmark")
    shape = (tiles, TILE_SIZE, TILE_SIZE)
    probability, truths = np.empty(shape, np.float16), np.empty(shape, np.uint8)
    for start in range(0, tiles, CHUNK):
        part = slice(start, start + CHUNK)
        odds = draw.normal(-1, 2, truths[part].shape)
        probability[part] = expit(SHARPNESS * odds)
        truths[part] = draw.random(odds.shape) < expit(odds)
    return probability, truths, np.arange(tiles) % FOLDS


def read_maps(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a run's out-of-fold maps and masks [n, 101, 101], and folds [n]."""
    maps = read_array(run / "ensemble/oof_probability.npy", mapped=False)
    folds = read_csv(run / "ensemble/oof_tiles.csv")["fold"].to_numpy()
    return maps, np.asarray(open_store(run / "ingest").masks), folds


def calibrate_folds(probability: np.ndarray, truths: np.ndarray, folds: np.ndarray) -> Calibration:
    """Calibrate each fold with the temperature of the others."""
    own = {fold: folds == fold for fold in np.unique(folds).tolist()}
    return calibrate({k: count_outcomes(probability[v], truths[v]) for k, v in own.items()})


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

"""Every threshold on every tile in one pass, against a loop over thresholds and tiles.

    python -m benchmarks.threshold_search [--write]

3,000 modelled tiles, 200 thresholds: the scores of `salt.infer.evidence` must equal those of a
NumPy loop, and the choice of the best threshold, cross-fitted over folds, is timed with it.
`joint_seconds` is the search over threshold, smallest component, holes, smallest mask and
presence gate together; some of its rules are drawn at random and checked by applying them, and
`plain_seconds_per_joint_rule` is what a search that applies each of them would pay for one.

The tiles are smooth random fields: a share has no salt, the network sees the salt's field
through coarse and fine noise, and its presence probability is right more often than not.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from tqdm import tqdm

from salt.files import write_json
from salt.infer.evidence import Evidence, gather_evidence
from salt.infer.rule import Grid, Rule, apply_rule
from salt.infer.threshold import choose_rule
from salt.metrics import FULL_TENTHS, score_in_tenths, tile_scores
from salt.seeding import generator
from salt.store import TILE_SIZE

RESULT = Path(__file__).parent / "results" / "threshold_search.json"
SEED = 2018
TILES, FOLDS, EMPTY_SHARE = 3000, 5, 0.39
CANDIDATES = 200
SINGLE = Grid.spanning(CANDIDATES, minimum_sizes=[0], presence_gates=[0.0])
JOINT = Grid.spanning(
    49,
    minimum_sizes=[0, 20, 40, 80, 160],
    presence_gates=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
    minimum_components=[0, 10, 20, 40],
    fill_holes=[0, 20, 80],
)
CHECKED_RULES = 20
REPEATS = 3  # of the fast way; the fastest counts


def main() -> None:
    """Measure both ways on the same tiles and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULT}")
    write = parser.parse_args().write
    tiles = draw_tiles(TILES)
    seconds, evidence = min((search(tiles, SINGLE) for _ in range(REPEATS)), key=lambda x: x[0])
    started = time.perf_counter()
    plain = loop_tenths(tiles["probability"], tiles["truths"], SINGLE.thresholds)
    plain_seconds = time.perf_counter() - started
    joint_seconds, joint = search(tiles, JOINT)
    agree, rule_seconds = apply_random_rules(tiles, joint)
    result: dict[str, Any] = {
        "tiles": TILES,
        "thresholds": CANDIDATES,
        "seconds": round(seconds, 3),
        "plain_seconds": round(plain_seconds, 2),
        "speedup": round(plain_seconds / seconds, 1),
        "equal": bool((evidence.tenths[0, 0] == plain).all()),
        "joint_rules": int(np.prod([len(axis) for axis in vars(JOINT).values()])),
        "joint_seconds": round(joint_seconds, 2),
        "joint_equal": agree,
        "plain_seconds_per_joint_rule": round(rule_seconds, 3),
        "machine": {"cpus": os.cpu_count()},
    }
    for name, value in result.items():
        print(f"{name:28} {value}")
    if write:
        write_json(RESULT, result)


def draw_tiles(count: int) -> dict[str, np.ndarray]:
    """Return probability float16, truths, presence and folds of modelled tiles."""
    draw = generator(SEED, "threshold search")
    probability = np.empty((count, TILE_SIZE, TILE_SIZE), np.float16)
    truths = np.empty(probability.shape, np.uint8)
    for tile in range(count):
        surface = smooth(draw, 20) - (9 if draw.random() < EMPTY_SHARE else draw.normal())
        truths[tile] = surface > 0
        seen = 6 * surface + 3 * smooth(draw, 12) + smooth(draw, 3)
        probability[tile] = expit(seen.clip(-9, 9))
    salt = truths.any(axis=(1, 2))
    presence = expit(3 * (2 * salt - 1) + 2 * draw.normal(size=count))
    folds = draw.integers(0, FOLDS, count)
    return {"probability": probability, "truths": truths, "presence": presence, "folds": folds}


def smooth(draw: np.random.Generator, scale: float) -> np.ndarray:
    """Return a random field [101, 101] of unit variance and a length of `scale` pixels."""
    field = gaussian_filter(draw.normal(size=(TILE_SIZE, TILE_SIZE)), scale, mode="wrap")
    return (field - field.mean()) / field.std()


def search(tiles: dict[str, np.ndarray], grid: Grid) -> tuple[float, Evidence]:
    """Judge every rule of the grid and choose one; return the seconds and the evidence."""
    started = time.perf_counter()
    evidence = gather_evidence(tiles["probability"], tiles["presence"], tiles["truths"], None, grid)
    choose_rule(evidence, tiles["folds"])
    return time.perf_counter() - started, evidence


def loop_tenths(probability: np.ndarray, truths: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return ten times the score [n, T], tile by tile and threshold by threshold."""
    counts = np.empty((2, len(probability), len(thresholds)), np.int64)
    wide, true = probability.astype(np.float64), truths.astype(bool)
    for column, threshold in enumerate(tqdm(thresholds, desc="plain loop", mininterval=1.0)):
        for tile in range(len(wide)):
            mask = wide[tile] >= threshold
            counts[0, tile, column] = np.count_nonzero(mask & true[tile])
            counts[1, tile, column] = np.count_nonzero(mask | true[tile])
    return score_in_tenths(*counts)


def apply_random_rules(tiles: dict[str, np.ndarray], evidence: Evidence) -> tuple[bool, float]:
    """Apply random rules to every tile: are the scores the evidence's, and seconds per rule."""
    draw, agree, seconds = generator(SEED, "rules"), True, 0.0
    for _ in range(CHECKED_RULES):
        rule = Rule(
            threshold=float(draw.choice(JOINT.thresholds)),
            minimum_size=int(draw.choice(JOINT.minimum_sizes)),
            presence_gate=float(draw.choice(JOINT.presence_gates)),
            minimum_component=int(draw.choice(JOINT.minimum_components)),
            fill_holes=int(draw.choice(JOINT.fill_holes)),
        )
        started = time.perf_counter()
        masks = apply_rule(tiles["probability"], tiles["presence"], rule)
        expected = np.rint(tile_scores(masks, tiles["truths"]) * FULL_TENTHS)
        seconds += time.perf_counter() - started
        agree &= bool((np.rint(evidence.scores(rule) * FULL_TENTHS) == expected).all())
    return agree, seconds / CHECKED_RULES


if __name__ == "__main__":
    main()

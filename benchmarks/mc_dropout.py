"""Cost and worth of Monte Carlo dropout at three placements of its sites.

    python -m benchmarks.mc_dropout [--run data] [--write]

Cost, at the model and precision of params.yaml with random weights: s is the share of a pass
that lies behind the first random site, and `ratio_to_one_pass` what T = 20 passes cost in
single deterministic ones, which may be 1.1 x (1 + 20 s) at most, and 8 at the placement of
params.yaml. The plain way beside it repeats whole passes; both use the same seeds, and must
give the same maps. `with_moments` adds mean, variance, entropy and mutual information.

Worth, on a finished run (`--run`, a folder with ingest, index and train): the same trained
networks with their sites moved, on held-out tiles only. `pixel_auroc` is how well mutual
information ranks wrong pixels above right ones; `tile_correlation` is Spearman's between a tile's
mean mutual information and 1 - its score, `risk_area` the area under risk and coverage in that
order (lower is better; `risk_area_random` is the mean loss, `risk_area_oracle` the least
possible), `score` that of the mean at threshold 0.5. A network was trained with its sites in one
place (`trained_with`), which favours that place.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr

from salt.dataset import open_stacks
from salt.files import read_csv, read_json, write_json
from salt.infer.risk import area_under_risk
from salt.infer.uncertainty import dropout_switched_on, moments, sample_passes
from salt.metrics import tile_scores
from salt.models.predict import (
    BATCH_SIZE,
    device_batches,
    images_as_trained,
    probability_maps,
)
from salt.models.registry import build_model
from salt.models.segmenter import CONFIG, WEIGHTS, Network, config_from
from salt.models.weights import load_weights
from salt.params import load_params
from salt.seeding import derive_seed, generator
from salt.store import TILE_SIZE

RESULT = Path(__file__).parent / "results" / "mc_dropout.json"
SEED = 2018
PASSES = 20
PLACEMENTS = ("early", "late", "head")
REPEATS = 3  # the fastest counts; the ways take turns
TILES = 300  # held-out tiles of each fold that the worth is measured on


def main() -> None:
    """Measure cost and, where there is a run, worth; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("data"), help="a finished run's data")
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULT}")
    arguments = parser.parse_args()
    params = load_params()
    torch.set_num_threads(params.runtime.threads)
    settings, precision = params.model.model_dump(), params.train.precision
    costs = {sites: measure_cost(settings, sites, precision) for sites in PLACEMENTS}
    worths = measure_worth(arguments.run, precision)
    for sites in PLACEMENTS:
        print(sites, costs[sites] | worths.get(sites, {}))
    if arguments.write:
        chosen = params.model.dropout_sites
        result: dict[str, Any] = {"cost": costs, "worth": worths, "default": chosen}
        result |= {"ratio_to_one_pass": costs[chosen]["ratio_to_one_pass"], "passes": PASSES}
        result |= {"share_behind_first_site": costs[chosen]["share_behind_first_site"]}
        machine = {"cpus": os.cpu_count(), "threads": params.runtime.threads}
        write_json(RESULT, result | {"machine": machine, "precision": precision})


def measure_cost(settings: dict[str, Any], sites: str, precision: str) -> dict[str, Any]:
    """Time one pass, its share behind the first site, T passes, and T passes the plain way."""
    torch.manual_seed(SEED)
    config = config_from(settings | {"dropout_sites": sites, "encoder_weights": "none"})
    model = build_model(config).eval().to(memory_format=torch.channels_last)
    side = settings["input_size"]
    images = torch.randn(BATCH_SIZE, model.config.image_channels, side, side)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(precision):
        settled = model.settle(images)
        samples = sample_passes(model, images, PASSES, TILE_SIZE)
        ways: dict[str, Callable[[], Any]] = {
            "pass": lambda: probability_maps(model(images), TILE_SIZE),
            "behind": lambda: probability_maps(model.finish(settled), TILE_SIZE),
            "passes": lambda: sample_passes(model, images, PASSES, TILE_SIZE)[0],
            "plain": lambda: plain_passes(model, images),
            "moments": lambda: moments(*samples),
        }
        seconds = dict.fromkeys(ways, np.inf)
        maps = {}
        for _ in range(REPEATS):
            for name, way in ways.items():
                torch.manual_seed(SEED)
                started = time.perf_counter()
                maps[name] = way()
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    share = seconds["behind"] / seconds["pass"]
    ratio = seconds["passes"] / seconds["pass"]
    return {
        "seconds_per_pass": round(seconds["pass"], 4),
        "share_behind_first_site": round(share, 4),
        "ratio_to_one_pass": round(ratio, 3),
        "allowed_ratio": round(1.1 * (1 + PASSES * share), 3),
        "with_moments": round(ratio + seconds["moments"] / seconds["pass"], 3),
        "plain_ratio": round(seconds["plain"] / seconds["pass"], 3),
        "largest_difference_to_plain": float((maps["passes"] - maps["plain"]).abs().max()),
    }


def autocast(precision: str) -> torch.autocast:
    """Return the precision the stages compute in."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")


def plain_passes(model: Network, images: torch.Tensor) -> torch.Tensor:
    """Return [T, B, 101, 101] from T whole passes, one after the other."""
    with dropout_switched_on(model):
        return torch.stack([probability_maps(model(images), TILE_SIZE) for _ in range(PASSES)])


def measure_worth(run: Path, precision: str) -> dict[str, Any]:
    """Return the worth of each placement, pooled over a run's folds; empty without a run."""
    folds = sorted(path.parent for path in run.glob(f"train/*/{CONFIG}"))
    configs = [read_json(fold / CONFIG) | {"encoder_weights": "none"} for fold in folds]
    if not folds or not configs[0]["decoder_dropout"]:
        print(f"no finished run with dropout in {run}: the worth is not measured")
        return {}
    trained_with = configs[0].get("dropout_sites", "early")
    worths = {}
    for sites in PLACEMENTS:
        parts = []
        for fold, config in zip(folds, configs, strict=True):
            model = build_model(config_from(config | {"dropout_sites": sites}))
            load_weights(model, fold / WEIGHTS)
            parts.append(held_out_maps(model.eval(), run, fold, precision))
        mean, information, truth = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        worths[sites] = describe_worth(mean, information, truth) | {"trained_with": trained_with}
    return worths


def held_out_maps(
    model: Network, run: Path, fold: Path, precision: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, mutual information and truth [n, 101, 101] of held-out tiles of a fold."""
    store, stacks = open_stacks(run / "ingest", run / "index", model.config.stack_width)
    images = images_as_trained(model.config, store, run / "index")
    rows = store.rows_of(read_csv(fold / "oof_tiles.csv")["id"])
    rows = generator(SEED, "worth", fold.name).permutation(rows)[:TILES]
    torch.manual_seed(derive_seed(SEED, "passes", fold.name))
    means, information = [], []
    with torch.inference_mode(), autocast(precision):
        batches = device_batches(model, images, stacks[rows], torch.device("cpu"), "")
        for _, batch in batches:
            summary = moments(*sample_passes(model, batch, PASSES, TILE_SIZE))
            means.append(summary.mean.numpy())
            information.append(summary.mutual_information.numpy())
    return np.concatenate(means), np.concatenate(information), store.masks[rows]


def describe_worth(
    mean: np.ndarray, information: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
    """Return how well mutual information points to wrong pixels and to badly scored tiles."""
    decided = mean >= 0.5
    scores = tile_scores(decided, truth)
    loss, doubt = 1 - scores, information.mean(axis=(1, 2))
    correlation = spearmanr(doubt, loss).statistic
    return {
        "pixel_auroc": round(area_under_roc(information.ravel(), (decided != truth).ravel()), 4),
        "tile_correlation": round(float(correlation), 4),
        "risk_area": round(area_under_risk(loss, doubt), 4),
        "risk_area_random": round(float(loss.mean()), 4),
        "risk_area_oracle": round(area_under_risk(loss, loss), 4),
        "score": round(float(scores.mean()), 4),
    }


def area_under_roc(values: np.ndarray, positive: np.ndarray) -> float:
    """Return the chance that a positive's value exceeds a negative's, ties half (Mann-Whitney)."""
    ranks, count = rankdata(values), int(positive.sum())
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(values) - count)))


if __name__ == "__main__":
    main()

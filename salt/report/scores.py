"""The run's numbers: every tile measured in one pass, then summed up as metrics.json."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.baselines import empty_masks, otsu_masks
from salt.infer.evidence import gather_evidence
from salt.infer.rule import DEFAULT_RULE, Grid, apply_rule
from salt.maps import MAXIMA
from salt.metrics import bootstrap_interval, paired_gain, tile_dice, tile_iou, tile_scores
from salt.report.run import Run, portions
from salt.report.tile_maps import TileMaps
from salt.seeding import generator

STEPS = {
    "single pass at 0.5": "single",
    "second round at 0.5": "student",
    "snapshot mean at 0.5": "snapshots",
    "TTA mean at 0.5": "views",
    "MC dropout mean at 0.5": "averaged",
    "refined at 0.5": "refined",
    "ensemble (as adopted) at 0.5": "ensemble",
    "cross-fitted decision rule": "decided",
}
BASELINES = ("all_empty", "otsu")
CURVE_THRESHOLDS = np.arange(1, 20) / 20  # 0.05 ... 0.95
DECIMALS = 6  # of every number written: more would differ between machines


def measure_labelled(run: Run) -> pd.DataFrame:
    """Measure every labelled tile: one row per tile, in store order.

    Columns: a score per step of `STEPS` taken and per baseline, `iou`, `dice` and `wrong_pixels`
    of the decision, `has_salt`, and `uncertainty` (mean predictive entropy, nat).
    """
    store, labelled = run.store, run.labelled
    parts = []
    for tiles in tqdm(list(portions(len(store.masks))), desc="report", unit="part", mininterval=1):
        truths, ignore = store.masks[tiles], store.ignore[tiles]
        decided = labelled.decisions(tiles)
        measured = {
            step: tile_scores(_at_half(maps, tiles), truths, ignore)
            for step, maps in labelled.maps_by_step().items()
        }
        measured["decided"] = labelled.scores[tiles]
        measured |= _baseline_scores(store.images[tiles], truths, ignore)
        measured["iou"] = tile_iou(decided, truths, ignore)
        measured["dice"] = tile_dice(decided, truths, ignore)
        measured["wrong_pixels"] = ((decided != truths) & (ignore == 0)).sum(axis=(1, 2))
        measured["has_salt"] = (truths.astype(bool) & (ignore == 0)).any(axis=(1, 2))
        measured["uncertainty"] = mean_entropy(labelled.uncertainty.read(tiles))
        parts.append(pd.DataFrame(measured))
    return pd.concat(parts, ignore_index=True)


def measure_unlabelled(run: Run) -> pd.DataFrame:
    """Measure every test tile: `uncertainty`, and where truth is known the scores.

    With truth the columns `decided`, `all_empty`, `otsu`, `iou` and `has_salt` are added.
    """
    images = run.store.images[len(run.store.masks) :]
    parts = []
    for tiles in portions(len(images)):
        measured: dict[str, Any] = {
            "uncertainty": mean_entropy(run.unlabelled.uncertainty.read(tiles))
        }
        truths = run.unlabelled.truth(tiles)
        if truths is not None:
            decided = run.unlabelled.decisions(tiles)
            measured["decided"] = tile_scores(decided, truths)
            measured["iou"] = tile_iou(decided, truths)
            measured["has_salt"] = truths.any(axis=(1, 2))
            measured |= _baseline_scores(images[tiles], truths, None)
        parts.append(pd.DataFrame(measured))
    return pd.concat(parts, ignore_index=True)


def threshold_scores(run: Run) -> pd.DataFrame:
    """Score all labelled tiles at the thresholds 0.05 ... 0.95, all else as in the rule.

    Returns the columns threshold and score. The curve shows how sharp the choice is; its
    scores are in-sample, unlike the cross-fitted one.
    """
    own = run.rule
    grid = Grid(
        CURVE_THRESHOLDS,
        minimum_sizes=np.array([own.minimum_size]),
        presence_gates=np.array([own.presence_gate]),
        minimum_components=np.array([own.minimum_component]),
        fill_holes=np.array([own.fill_holes]),
    )
    totals = np.zeros(len(CURVE_THRESHOLDS))
    for tiles in portions(len(run.store.masks)):
        evidence = gather_evidence(
            run.labelled.ensemble.read(tiles),
            run.labelled.ensemble.presence(tiles),
            run.store.masks[tiles],
            run.store.ignore[tiles],
            grid,
        )
        rules = [replace(own, threshold=float(t)) for t in CURVE_THRESHOLDS]
        totals += [evidence.scores(rule).sum() for rule in rules]
    scores = (totals / len(run.store.masks)).round(DECIMALS)
    return pd.DataFrame({"threshold": CURVE_THRESHOLDS, "score": scores})


def summarise(
    run: Run,
    labelled: pd.DataFrame,
    unlabelled: pd.DataFrame,
    *,
    source: str,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Assemble metrics.json from the measured tiles of `source`.

    `samples` resamples stand behind each 95 % interval; `seed` is the root seed.
    """
    steps = _steps(labelled, samples, seed)
    metrics = {
        "source": source,
        "tiles": _tile_counts(run),
        "out_of_fold": {
            "score": steps[-1]["score"],
            "interval": steps[-1]["interval"],
            "per_fold": labelled["decided"].groupby(run.labelled.fold).mean().to_dict(),
            **_overlaps(labelled),
        },
        "steps": steps,
        "gain_of_all_steps": _gain_of_all(labelled, samples, seed),
        "baselines": _baselines(labelled),
        "folds": run.summaries["index"],
        "postprocessing": run.summaries["ensemble"]["postprocessing"],
        "threshold": vars(run.rule),
        "submission": run.summaries["submit"],
    }
    if "decided" in unlabelled:
        metrics["held_out"] = {
            "score": unlabelled["decided"].mean(),
            "interval": _intervals(samples, seed)(unlabelled["decided"], "held_out"),
            "baselines": _baselines(unlabelled),
        }
    return rounded(metrics)


def rounded(content: Any) -> Any:
    """Return JSON content with plain numbers, floats to `DECIMALS` places, NaN as None."""
    if isinstance(content, dict):
        return {str(key): rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    if isinstance(content, float | np.floating):
        return round(float(content), DECIMALS) if np.isfinite(content) else None
    return content.item() if isinstance(content, np.generic) else content


def mean_entropy(stored: np.ndarray) -> np.ndarray:
    """Return the mean predictive entropy in nat of each stored map, uint8 [n, H, W]."""
    return stored.mean(axis=(1, 2)) * (MAXIMA["entropy"] / 255)


def _at_half(maps: TileMaps, tiles: np.ndarray) -> np.ndarray:
    return apply_rule(maps.read(tiles), maps.presence(tiles), DEFAULT_RULE)


def _baseline_scores(
    images: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None
) -> dict[str, np.ndarray]:
    masks = {"all_empty": empty_masks(images), "otsu": otsu_masks(images)}
    return {name: tile_scores(masks[name], truths, ignore) for name in BASELINES}


def _baselines(measured: pd.DataFrame) -> dict[str, float]:
    return {name: measured[name].mean() for name in BASELINES}


def _overlaps(measured: pd.DataFrame) -> dict[str, float]:
    """Return mean Dice and IoU of the tiles that have salt: empty ones would flatter both."""
    salt = measured[measured["has_salt"]]
    return {"salt_dice": salt["dice"].mean(), "salt_iou": salt["iou"].mean()}


def _tile_counts(run: Run) -> dict[str, int]:
    store = run.store
    return {
        "labelled": len(store.labelled),
        "labelled_empty": int((store.labelled["coverage_class"] == 0).sum()),
        "test": len(store.unlabelled),
        "constant": int(store.table["is_constant"].sum()),
    }


def _steps(measured: pd.DataFrame, samples: int, seed: int) -> list[dict[str, Any]]:
    """Return each step's score, and its paired gain over the step before, with intervals.

    A step that the run did not take is left out.
    """
    interval = _intervals(samples, seed)
    steps, before = [], None
    for step, column in STEPS.items():
        if column not in measured:
            continue
        scores = measured[column].to_numpy()
        entry = {"step": step, "score": scores.mean(), "interval": interval(scores, step)}
        if before is not None:
            gain = paired_gain(scores, before, samples, generator(seed, "report", "gain", step))
            entry |= {"gain": gain.mean, "gain_interval": [gain.low, gain.high]}
        steps.append(entry)
        before = scores
    return steps


def _gain_of_all(measured: pd.DataFrame, samples: int, seed: int) -> dict[str, Any]:
    """Return the paired gain of the last step over the first, with its interval."""
    first, last = (measured[column].to_numpy() for column in ("single", "decided"))
    gain = paired_gain(last, first, samples, generator(seed, "report", "gain of all steps"))
    return {"gain": gain.mean, "gain_interval": [gain.low, gain.high]}


def _intervals(samples: int, seed: int) -> Any:
    """Return a function that gives the interval of a mean, seeded by the name of what it is."""

    def interval(values: Any, name: str) -> list[float]:
        return list(
            bootstrap_interval(np.asarray(values), samples, generator(seed, "report", name))
        )

    return interval

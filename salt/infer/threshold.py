"""Choose the decision rule for the score itself, all its settings jointly.

Scores are summed as integer tenths, so equal rules tie exactly. No tile is scored with a
rule it helped to choose: each fold gets the best rule of the other folds. The rule for
tiles without truth is the best on all folds, and its score on those same tiles is
reported as what it is, in-sample. Where a fold's maps were decided otherwise than those of the
other folds (refined or not), its rule is chosen on the others as its decision would have them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import read_array, read_csv, read_json, write_csv, write_json
from salt.infer.evidence import Evidence, gather_evidence
from salt.infer.rule import DEFAULT_RULE, Grid, Rule, apply_rule
from salt.metrics import bootstrap_interval, paired_gain, tile_scores
from salt.seeding import generator
from salt.store import TileStore, open_store

RESAMPLES = 2000  # behind each interval: its ends then wobble by 3 % of its half-width
_TILES_AT_ONCE = 64
_COUNTS = ("minimum_size", "minimum_component", "fill_holes")


@dataclass(frozen=True)
class Choice:
    """A rule and how it was judged.

    Attributes:
        rule: the best rule on all tiles, for tiles that have no truth.
        in_sample_score: its mean score on those same tiles; flattering by construction.
        fold_rules: for each fold, the best rule on the other folds.
        scores: float64 [n], each tile under the rule of its fold; no tile chose its own rule.
    """

    rule: Rule
    in_sample_score: float
    fold_rules: dict[int, Rule]
    scores: np.ndarray


def fit_rule(ensemble: Path, ingest: Path, output: Path, grid: Grid, seed: int) -> Choice:
    """Write the rule, the cross-fitted score of each labelled tile and a summary to `output`.

    Args:
        ensemble: see `choose_rule_of`.
        ingest: folder of the tile store with the truth.
        output: folder of `rule.json`, `scores.csv` (id, fold, score) and `summary.json`.
        grid: the rules to choose from.
        seed: root seed of the intervals' resampling.

    Returns:
        What was written.

    Raises:
        StoreError: the inputs are incomplete, or do not belong together.
    """
    store = open_store(ingest)
    choice = choose_rule_of(ensemble, store, grid)
    tiles = _read_out_of_fold_tiles(ensemble / "oof_tiles.csv", store)
    folds, presence = tiles["fold"].to_numpy(), tiles["presence"].to_numpy(np.float64)
    probability = read_array(ensemble / "oof_probability.npy")
    default_scores = _default_scores(probability, presence, store)
    write_csv(output / "scores.csv", tiles[["id", "fold"]].assign(score=choice.scores))
    write_json(output / "summary.json", _summary(choice, default_scores, folds, seed))
    write_json(output / "rule.json", asdict(choice.rule))
    return choice


def choose_rule_of(ensemble: Path, store: TileStore, grid: Grid) -> Choice:
    """Choose and judge the rule for the maps of an ensemble; see `choose_rule`.

    Args:
        ensemble: folder of `oof_probability.npy`, `oof_tiles.csv`, `oof_by_decision.npy` and
            `summary.json`, which says whose decision is which.
        store: the tiles with their truth.

    Raises:
        StoreError: the inputs are incomplete, or do not belong together.
    """
    probability = read_array(ensemble / "oof_probability.npy")
    tiles = _read_out_of_fold_tiles(ensemble / "oof_tiles.csv", store)
    folds, presence = tiles["fold"].to_numpy(), tiles["presence"].to_numpy(np.float64)
    ignore = store.ignore if store.ignore.any() else None
    evidence = gather_evidence(probability, presence, store.masks, ignore, grid)
    by_decision = read_array(ensemble / "oof_by_decision.npy")
    decision_of = read_decisions(ensemble / "summary.json")
    decided: dict[int | None, Evidence] = {}
    if len(by_decision) > 1:
        under = [gather_evidence(m, presence, store.masks, ignore, grid) for m in by_decision]
        decided = {fold: under[place] for fold, place in decision_of.items()}
    return choose_rule(evidence, folds, decided)


def read_decisions(summary: Path) -> dict[int | None, int]:
    """Return whose decision made which of the maps in `oof_by_decision.npy`: fold -> place.

    The decision for test tiles is that of None.

    Raises:
        StoreError: the ensemble's summary does not say, having been written by older code.
    """
    decision_of = read_json(summary).get("decision_of")
    if decision_of is None:
        raise StoreError(
            f"{summary}: no decision_of; expected the place of each fold's decision in "
            "oof_by_decision.npy. Rerun the ensemble stage of that run."
        )
    return {None if fold == "test" else int(fold): place for fold, place in decision_of.items()}


def read_rule(path: Path) -> Rule:
    """Read the rule that the threshold stage wrote.

    Raises:
        StoreError: no such file, or it does not hold a rule.
    """
    content = read_json(path)
    try:
        return _checked_rule(**content)
    except (TypeError, ValueError):
        raise StoreError(
            f"{path}: got {content!r}; expected a threshold and a presence_gate from 0 to 1, and "
            f"{', '.join(_COUNTS)} of 0 or more pixels. Rerun the threshold stage."
        ) from None


def choose_rule(
    evidence: Evidence,
    folds: np.ndarray,
    decided: Mapping[int | None, Evidence] = MappingProxyType({}),
) -> Choice:
    """Choose the rule on all tiles, and score each fold with the rule chosen on the others.

    Args:
        evidence: of every tile's map as it is scored.
        folds: int [n].
        decided: of all tiles' maps as they would be by the decision taken for a fold's tiles
            (None: for tiles without truth), where it is not the same for all.

    Raises:
        StoreError: there are fewer than two folds.
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise StoreError(
            f"out-of-fold tiles come from folds {names.tolist()}; expected at least two, because "
            "each fold is scored with a rule chosen on the others. Rerun the ensemble stage."
        )
    totals = _total_tenths(evidence, folds == names[:, None])  # [N, C, F, S, G, T]
    everything, scores = totals.sum(axis=0), np.empty(len(folds))
    fold_rules = {}
    for name, own in zip(names.tolist(), totals, strict=True):
        held_out, others = folds == name, everything - own
        if name in decided:
            others = _total_tenths(decided[name], ~held_out[None])[0]
        fold_rules[name] = _best_rule(others, evidence.grid)
        scores[held_out] = evidence.scores(fold_rules[name])[held_out]
    if None in decided:
        everything = _total_tenths(decided[None], np.ones((1, len(folds)), bool))[0]
    rule = _best_rule(everything, evidence.grid)
    in_sample = decided.get(None, evidence).scores(rule).mean()
    return Choice(rule, float(in_sample), fold_rules, scores)


def _checked_rule(threshold: float, presence_gate: float, **counts: int) -> Rule:
    possible = 0 < threshold < 1 and 0 <= presence_gate <= 1 and set(counts) == set(_COUNTS)
    if not possible or any(count < 0 or int(count) != count for count in counts.values()):
        raise ValueError
    whole = {name: int(count) for name, count in counts.items()}
    return Rule(float(threshold), presence_gate=float(presence_gate), **whole)


def _total_tenths(evidence: Evidence, members: np.ndarray) -> np.ndarray:
    """Sum the tenths of each group of tiles under every rule: int64 [N, C, F, S, G, T].

    `members` is bool [N, n]. A rule changes a tile from its empty score to that of its
    mask, so the groups' sums of that change are one matrix product per shape and size.
    """
    grid = evidence.grid
    passes = ~(evidence.presence < grid.presence_gates[:, None])  # [G, n]
    groups = (members[:, None] & passes).reshape(-1, members.shape[1])  # [N * G, n]
    shapes = evidence.tenths.shape[:2]
    totals = np.empty((*shapes, len(grid.minimum_sizes), len(groups), len(grid.thresholds)))
    for place in np.ndindex(*shapes):
        change = evidence.tenths[place] - evidence.empty_tenths[:, None]  # [n, T]
        for size, pixels in enumerate(grid.minimum_sizes):
            kept = np.where(evidence.areas[place] >= pixels, change, 0)
            totals[place][size] = groups.astype(np.float64) @ kept
    by_group = totals.reshape(*totals.shape[:3], len(members), len(passes), -1)
    base = members.astype(np.int64) @ evidence.empty_tenths
    return np.moveaxis(by_group, 3, 0).astype(np.int64) + base.reshape(-1, 1, 1, 1, 1, 1)


def _best_rule(totals: np.ndarray, grid: Grid) -> Rule:
    """Return the rule of the highest total [C, F, S, G, T].

    Of equal rules the smallest component wins, then the smallest holes and size, then the
    lowest gate, which interfere least; of equal thresholds the middle of their longest run,
    which is safest from its edges.
    """
    best = totals == totals.max()
    component, holes, size, gate = np.argwhere(best.any(axis=-1))[0]
    column = _middle_of_longest_run(np.flatnonzero(best[component, holes, size, gate]))
    return Rule(
        threshold=float(grid.thresholds[column]),
        minimum_size=int(grid.minimum_sizes[size]),
        presence_gate=float(grid.presence_gates[gate]),
        minimum_component=int(grid.minimum_components[component]),
        fill_holes=int(grid.fill_holes[holes]),
    )


def _middle_of_longest_run(columns: np.ndarray) -> int:
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[(len(longest) - 1) // 2])


def _read_out_of_fold_tiles(path: Path, store: TileStore) -> pd.DataFrame:
    tiles = read_csv(path)
    missing = [name for name in ("id", "fold", "presence") if name not in tiles.columns]
    if missing or tiles["id"].tolist() != store.labelled["id"].tolist():
        problem = f"no column {missing[0]!r}" if missing else f"{len(tiles)} other or unordered ids"
        raise StoreError(
            f"{path}: {problem}; expected id, fold, presence of all {len(store.masks)} labelled "
            "tiles in the tile store's order. Rerun the ensemble stage."
        )
    return tiles


def _default_scores(probability: np.ndarray, presence: np.ndarray, store: TileStore) -> np.ndarray:
    """Return the score of each tile under the rule one would use without choosing."""
    scores = np.empty(len(probability))
    for start in range(0, len(probability), _TILES_AT_ONCE):
        part = slice(start, start + _TILES_AT_ONCE)
        masks = apply_rule(probability[part], presence[part], DEFAULT_RULE)
        scores[part] = tile_scores(masks, store.masks[part], store.ignore[part])
    return scores


def _summary(
    choice: Choice, default_scores: np.ndarray, folds: np.ndarray, seed: int
) -> dict[str, Any]:
    def interval(values: np.ndarray, name: str) -> dict[str, float]:
        low, high = bootstrap_interval(values, RESAMPLES, generator(seed, "threshold", name))
        return {"score": float(values.mean()), "low": low, "high": high}

    gain = paired_gain(
        choice.scores, default_scores, RESAMPLES, generator(seed, "threshold", "gain")
    )
    return {
        "tiles": len(folds),
        "resamples": RESAMPLES,
        "rule": asdict(choice.rule),
        "cross_fitted": interval(choice.scores, "cross_fitted"),
        "in_sample_score_at_final_rule": choice.in_sample_score,
        "default_rule": asdict(DEFAULT_RULE) | interval(default_scores, "default"),
        "gain_over_default": gain._asdict(),
        "folds": [
            {
                "fold": fold,
                "tiles": int((folds == fold).sum()),
                "rule": asdict(rule),
                "score": float(choice.scores[folds == fold].mean()),
                "default_score": float(default_scores[folds == fold].mean()),
            }
            for fold, rule in choice.fold_rules.items()
        ],
    }

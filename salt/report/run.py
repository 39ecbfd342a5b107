"""A finished run: everything the report reads, opened once and checked to belong together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import read_array, read_csv, read_json
from salt.infer.rule import Rule, apply_rule
from salt.infer.threshold import read_rule
from salt.report.tile_maps import TileMaps, open_tile_maps, read_in_order, rows_in_order
from salt.rle import decode
from salt.store import TILE_SIZE, TileStore, open_store

_TILES_AT_ONCE = 256
_SUMMARIES = ("index", "ensemble", "threshold", "submit")


@dataclass(frozen=True)
class Labelled:
    """Out-of-fold outputs of the labelled tiles, in store order.

    Attributes:
        fold: int [m], the fold that held each tile out.
        scores: float64 [m], scores under the cross-fitted decision rules.
        single: probability of one pass of the fold's network.
        student: the same behind a second round on pseudo-labels; None if there was none.
        snapshots: mean over the snapshots of the fold's network, one plain pass each; None if
            there was one network.
        views: mean over the views of the tile, dropout off; None if there was one view.
        averaged: mean over views and dropout passes.
        passes: dropout passes of each view; 1 is the plain pass, without dropout.
        refined: the refiner's probability.
        ensemble: the probability adopted.
        uncertainty: predictive entropy, uint8, 255 is ln 2 nat.
        variance, information: over networks, views and passes, uint8, see `salt.maps.MAXIMA`.
        fold_rules: the decision rule each fold is scored with, chosen on the others.
    """

    fold: np.ndarray
    scores: np.ndarray
    single: TileMaps
    student: TileMaps | None
    snapshots: TileMaps | None
    views: TileMaps | None
    averaged: TileMaps
    passes: int
    refined: TileMaps
    ensemble: TileMaps
    uncertainty: TileMaps
    variance: TileMaps
    information: TileMaps
    fold_rules: dict[int, Rule]

    def maps_by_step(self) -> dict[str, TileMaps]:
        """Return the maps behind each step that was taken before a rule decides, in order."""
        steps = {
            "single": self.single,
            "student": self.student,
            "snapshots": self.snapshots,
            "views": self.views,
            "averaged": self.averaged if self.passes > 1 else None,
            "refined": self.refined,
            "ensemble": self.ensemble,
        }
        return {step: maps for step, maps in steps.items() if maps is not None}

    def decisions(self, tiles: np.ndarray) -> np.ndarray:
        """Return masks uint8 {0, 1} [k, H, W], each under the rule of its tile's fold."""
        probability = self.ensemble.read(tiles)
        presence = self.ensemble.presence(tiles)
        masks = np.zeros(probability.shape, np.uint8)
        for fold in np.unique(self.fold[tiles]):
            own = self.fold[tiles] == fold
            masks[own] = apply_rule(probability[own], presence[own], self.fold_rules[int(fold)])
        return masks


@dataclass(frozen=True)
class Unlabelled:
    """Outputs of the test tiles, in store order.

    Attributes:
        averaged: the folds' mean probabilities, one entry per fold.
        refined: the folds' refined probabilities, one entry per fold.
        ensemble: the probability adopted, mean over the folds.
        uncertainty: predictive entropy, uint8, 255 is ln 2 nat.
        variance, information: of each fold's dropout passes, as for labelled tiles.
        runs: run lengths of the decided masks, as submitted.
        truths: uint8 {0, 1} [t, H, W] where the source knows them (the demo), else None.
        truth_row: row in `truths` of each tile [t].
    """

    averaged: tuple[TileMaps, ...]
    refined: tuple[TileMaps, ...]
    ensemble: TileMaps
    uncertainty: TileMaps
    variance: tuple[TileMaps, ...]
    information: tuple[TileMaps, ...]
    runs: pd.Series
    truths: np.ndarray | None
    truth_row: np.ndarray

    def decisions(self, tiles: np.ndarray) -> np.ndarray:
        """Return the submitted masks, uint8 {0, 1} [k, H, W]."""
        return np.stack([decode(runs, TILE_SIZE, TILE_SIZE) for runs in self.runs.iloc[tiles]])

    def truth(self, tiles: np.ndarray) -> np.ndarray | None:
        """Return the true masks [k, H, W], None where nobody knows them."""
        return None if self.truths is None else self.truths[self.truth_row[tiles]]


@dataclass(frozen=True)
class Run:
    """All outputs of one pipeline run; `summaries` holds each stage's summary.json by name."""

    folder: Path
    store: TileStore
    labelled: Labelled
    unlabelled: Unlabelled
    rule: Rule
    history: pd.DataFrame
    summaries: dict[str, dict[str, Any]]


def open_run(data: Path, folds: list[int]) -> Run:
    """Open the outputs below `data` of all stages before the report.

    Raises:
        StoreError: an output is missing, a fold is incomplete, or tiles do not match the store.
    """
    store = open_store(data / "ingest")
    summaries = {name: read_json(data / name / "summary.json") for name in _SUMMARIES}
    return Run(
        folder=data,
        store=store,
        labelled=_open_labelled(data, folds, store.labelled["id"], summaries["threshold"]),
        unlabelled=_open_unlabelled(data, folds, store.unlabelled["id"].reset_index(drop=True)),
        rule=read_rule(data / "threshold/rule.json"),
        history=_read_history(data, folds),
        summaries=summaries,
    )


def portions(count: int) -> Iterator[np.ndarray]:
    """Yield the indices 0 ... count - 1 in portions small enough to hold their maps at once."""
    for start in range(0, count, _TILES_AT_ONCE):
        yield np.arange(start, min(start + _TILES_AT_ONCE, count))


def _open_labelled(
    data: Path, folds: list[int], ids: pd.Series, threshold_summary: dict[str, Any]
) -> Labelled:
    scores = read_in_order(data / "threshold/scores.csv", ids)
    _require_folds(scores["fold"], folds, data / "threshold/scores.csv")
    ensemble, passes = data / "ensemble", data / "uncertainty"
    sampled = read_json(passes / str(folds[0]) / "summary.json")
    return Labelled(
        fold=scores["fold"].to_numpy(np.int64),
        scores=scores["score"].to_numpy(np.float64),
        single=_over_folds(data / "train", folds, "oof_probability.npy", "oof_tiles.csv", ids),
        student=_open_students(data, folds, ids),
        snapshots=_open_snapshots(passes, folds, ids, sampled),
        views=_open_views(passes, folds, ids, sampled),
        averaged=_over_folds(passes, folds, "oof_mean.npy", "oof_tiles.csv", ids),
        passes=sampled["passes"],
        refined=_over_folds(data / "refine", folds, "oof_probability.npy", "oof_tiles.csv", ids),
        ensemble=open_tile_maps(
            [(ensemble / "oof_probability.npy", ensemble / "oof_tiles.csv")], ids
        ),
        uncertainty=open_tile_maps(
            [(ensemble / "oof_uncertainty.npy", ensemble / "oof_tiles.csv")], ids
        ),
        variance=_over_folds(passes, folds, "oof_variance.npy", "oof_tiles.csv", ids),
        information=_over_folds(passes, folds, "oof_mutual_information.npy", "oof_tiles.csv", ids),
        fold_rules=_fold_rules(threshold_summary, folds, data / "threshold/summary.json"),
    )


def _open_students(data: Path, folds: list[int], ids: pd.Series) -> TileMaps | None:
    chosen = [read_json(data / "pseudo" / str(fold) / "summary.json")["chosen"] for fold in folds]
    if not any(chosen):
        return None
    return _over_folds(data / "student", folds, "oof_probability.npy", "oof_tiles.csv", ids)


def _open_snapshots(
    root: Path, folds: list[int], ids: pd.Series, sampled: dict[str, Any]
) -> TileMaps | None:
    """Open the mean over snapshots; with a single pass of each it is the mean itself."""
    if sampled.get("snapshots", 0) < 2:
        return None
    single = sampled["passes"] == 1 and sampled["tta"] == "none"
    array = "oof_mean.npy" if single else "oof_snapshots.npy"
    return _over_folds(root, folds, array, "oof_tiles.csv", ids)


def _open_views(
    root: Path, folds: list[int], ids: pd.Series, sampled: dict[str, Any]
) -> TileMaps | None:
    """Open the mean over views; with a single pass of each it is the mean itself."""
    if sampled["tta"] == "none":
        return None
    array = "oof_views.npy" if sampled["passes"] > 1 else "oof_mean.npy"
    return _over_folds(root, folds, array, "oof_tiles.csv", ids)


def _open_unlabelled(data: Path, folds: list[int], ids: pd.Series) -> Unlabelled:
    submission = data / "submit/submission.csv"
    runs = read_csv(submission, text_columns=("id", "rle_mask")).fillna("")  # no run: no salt
    ensemble, passes = data / "ensemble", data / "uncertainty"
    tiles = ensemble / "test_tiles.csv"
    truths, truth_row = _open_truth(data / "ingest/truth", ids)
    return Unlabelled(
        averaged=_each_fold(passes, folds, "test_mean.npy", ids),
        refined=_each_fold(data / "refine", folds, "test_probability.npy", ids),
        ensemble=open_tile_maps([(ensemble / "test_probability.npy", tiles)], ids),
        uncertainty=open_tile_maps([(ensemble / "test_uncertainty.npy", tiles)], ids),
        variance=_each_fold(passes, folds, "test_variance.npy", ids),
        information=_each_fold(passes, folds, "test_mutual_information.npy", ids),
        runs=runs["rle_mask"].iloc[rows_in_order(runs["id"], ids, str(submission))],
        truths=truths,
        truth_row=truth_row,
    )


def _open_truth(folder: Path, ids: pd.Series) -> tuple[np.ndarray | None, np.ndarray]:
    if not folder.exists():
        return None, np.zeros(0, np.int64)
    found = read_csv(folder / "ids.csv")["id"]
    return read_array(folder / "masks.npy"), rows_in_order(found, ids, f"{folder}/ids.csv")


def _over_folds(root: Path, folds: list[int], array: str, table: str, ids: pd.Series) -> TileMaps:
    return open_tile_maps(
        [(root / str(fold) / array, root / str(fold) / table) for fold in folds], ids
    )


def _each_fold(root: Path, folds: list[int], array: str, ids: pd.Series) -> tuple[TileMaps, ...]:
    return tuple(_over_folds(root, [fold], array, "test_tiles.csv", ids) for fold in folds)


def _read_history(data: Path, folds: list[int]) -> pd.DataFrame:
    tables = []
    for fold in folds:
        table = read_csv(data / "train" / str(fold) / "history.csv", text_columns=())
        table.insert(0, "fold", fold)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _fold_rules(summary: dict[str, Any], folds: list[int], origin: Path) -> dict[int, Rule]:
    rules = {entry["fold"]: Rule(**entry["rule"]) for entry in summary["folds"]}
    if sorted(rules) != sorted(folds):
        raise StoreError(
            f"{origin}: decision rules of folds {sorted(rules)}; expected folds "
            f"{sorted(folds)} of index.folds. Rerun the threshold stage."
        )
    return rules


def _require_folds(found: pd.Series, folds: list[int], origin: Path) -> None:
    if sorted(found.unique()) != sorted(folds):
        raise StoreError(
            f"{origin}: scores of folds {sorted(found.unique().tolist())}; expected folds "
            f"{sorted(folds)} of index.folds. Run `dvc repro`."
        )

"""Finished runs: what their ensemble stages wrote, checked to be of the same tiles and folds."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import read_array, read_csv
from salt.infer.threshold import read_decisions
from salt.store import TileStore

RERUN = "Rerun that run's ensemble stage on the tiles of the present ingest stage."


@dataclass(frozen=True)
class FinishedRun:
    """A run's final maps, memory-mapped, in the order of the tile store.

    Attributes:
        folder: what its ensemble stage wrote, as it was named.
        folds: int [m], the fold that each labelled tile was held out with.
        presence: float64 [m], NaN where the network has no presence head.
        by_decision: float16 [D, m, S, S], out-of-fold maps under each decision of the run.
        decision_of: the place in these of each fold's decision, and (None) of that for test.
        test: float16 [n, S, S]; test_presence: float64 [n].
    """

    folder: Path
    folds: np.ndarray
    presence: np.ndarray
    by_decision: np.ndarray
    decision_of: dict[int | None, int]
    test: np.ndarray
    test_presence: np.ndarray


def open_runs(folders: Sequence[Path], store: TileStore) -> list[FinishedRun]:
    """Open two or more runs on the same tiles and folds.

    Raises:
        StoreError: there is only one, one is named twice or a copy of another, or a run has
            tiles missing, other tiles, another order of them, or other folds than the first.
    """
    if len(folders) < 2:
        raise StoreError(
            f"{len(folders)} run to blend; expected two or more. Name the folder of another."
        )
    _require_different([str(folder.resolve()) for folder in folders], folders, "the same folder")
    runs = [open_run(folder, store) for folder in folders]
    for run in runs[1:]:
        _require_same_folds(runs[0], run)
    _require_different([_digest(folder) for folder in folders], folders, "the same maps")
    return runs


def open_run(folder: Path, store: TileStore) -> FinishedRun:
    """Open a folder that holds what an ensemble stage wrote.

    Raises:
        StoreError: a file is missing, or is not of the store's tiles in their order.
    """
    labelled, unlabelled = store.labelled["id"], store.unlabelled["id"]
    side = store.images.shape[1:]
    tiles = _read_tiles(folder / "oof_tiles.csv", ["id", "fold", "presence"], labelled)
    test_tiles = _read_tiles(folder / "test_tiles.csv", ["id", "presence"], unlabelled)
    decision_of = read_decisions(folder / "summary.json")
    folds = tiles["fold"].to_numpy()
    missing = [fold for fold in (*np.unique(folds).tolist(), None) if fold not in decision_of]
    if missing:
        raise StoreError(
            f"{folder}/summary.json: decision_of lacks {'test' if None in missing else missing[0]}"
            f"; expected each fold, and test. {RERUN}"
        )
    decisions = max(decision_of.values()) + 1
    return FinishedRun(
        folder=folder,
        folds=folds,
        presence=tiles["presence"].to_numpy(np.float64),
        by_decision=_read_maps(folder / "oof_by_decision.npy", (decisions, len(labelled), *side)),
        decision_of=decision_of,
        test=_read_maps(folder / "test_probability.npy", (len(unlabelled), *side)),
        test_presence=test_tiles["presence"].to_numpy(np.float64),
    )


def _read_tiles(path: Path, columns: list[str], expected: pd.Series) -> pd.DataFrame:
    tiles = read_csv(path)
    absent = [name for name in columns if name not in tiles.columns]
    if absent:
        raise StoreError(f"{path}: no column {absent[0]!r}; expected {', '.join(columns)}. {RERUN}")
    found, wanted = list(tiles["id"]), list(expected)
    if found == wanted:
        return tiles
    missing, other = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    problem = "the tiles in another order, or one of them twice"
    if missing:
        problem = f"{len(missing)} tiles missing, the first {missing[0]!r}"
    elif other:
        problem = f"{len(other)} other tiles, the first {other[0]!r}"
    raise StoreError(
        f"{path}: {problem}; expected the {len(wanted)} tiles of the tile store, in its order. "
        f"{RERUN}"
    )


def _read_maps(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    maps = read_array(path)
    if maps.shape != shape or maps.dtype != np.float16:
        raise StoreError(
            f"{path}: maps {maps.dtype} {maps.shape}; expected float16 {shape}. {RERUN}"
        )
    return maps


def _require_same_folds(first: FinishedRun, run: FinishedRun) -> None:
    moved = np.flatnonzero(first.folds != run.folds)
    if len(moved):
        raise StoreError(
            f"{run.folder}: {len(moved)} tiles are in other folds than in {first.folder}; expected "
            "the same folds, or weights and rule for a tile would be chosen on maps of networks "
            "that saw it in training. Rerun one of the two with the other's folds.csv."
        )


def _require_different(keys: list[str], folders: Sequence[Path], what: str) -> None:
    first: dict[str, Path] = {}
    for key, folder in zip(keys, folders, strict=True):
        if key in first:
            raise StoreError(
                f"{folder}: {what} as {first[key]}; expected each run once, or it would count "
                "twice. Remove one of the two."
            )
        first[key] = folder


def _digest(folder: Path) -> str:
    with (folder / "oof_probability.npy").open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

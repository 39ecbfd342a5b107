"""Finished runs made up from a seed, as an ensemble stage would have written them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.files import write_array, write_csv, write_json
from salt.store import TileStore

FOLDS = 2
ONE_DECISION = {"0": 0, "1": 0, "test": 0}


def write_run(
    folder: Path,
    store: TileStore,
    seed: int,
    noise: float = 0.3,
    presence: float = 0.6,
    decision_of: dict[str, int] = ONE_DECISION,
) -> Path:
    """Write maps that know the truth but for noise, each further decision with more of it."""
    draw = np.random.default_rng(seed)
    folds = folds_of(store)
    noises = noise * draw.normal(size=(1 + max(decision_of.values()), *store.masks.shape))
    grown = noises * (1 + np.arange(len(noises)))[:, None, None, None]
    by_decision = (0.25 + 0.5 * store.masks + grown).clip(0, 1).astype(np.float16)
    own = np.array([decision_of[str(fold)] for fold in folds.tolist()])
    tests = len(store.unlabelled)
    write_array(folder / "oof_by_decision.npy", by_decision)
    write_array(folder / "oof_probability.npy", by_decision[own, np.arange(len(folds))])
    test = draw.random((tests, *store.masks.shape[1:])).astype(np.float16)
    write_array(folder / "test_probability.npy", test)
    ids = {"oof": store.labelled["id"], "test": store.unlabelled["id"]}
    tables = {part: pd.DataFrame({"id": ids[part], "presence": presence}) for part in ids}
    tables["oof"].insert(1, "fold", folds)
    for part, table in tables.items():
        write_csv(folder / f"{part}_tiles.csv", table)
    write_json(folder / "summary.json", {"decision_of": decision_of})
    return folder


def folds_of(store: TileStore) -> np.ndarray:
    """The fold of each labelled tile, in turns of three."""
    return np.arange(len(store.masks)) // 3 % FOLDS


def edit_table(path: Path, change: Any) -> None:
    """Replace a table by what `change` makes of it."""
    write_csv(path, change(pd.read_csv(path, dtype={"id": str})))

"""The neighbour index: neighbours, sections and folds of a tile store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import write_csv, write_json
from salt.neighbours.accuracy import seam_accuracy
from salt.neighbours.folds import (
    class_imbalance,
    depth_folds,
    groups_of,
    random_folds,
    section_folds,
    separated_pairs,
)
from salt.neighbours.jigsaw import Jigsaw, jigsaw
from salt.neighbours.stack import GEOMETRY, has_geometry, stack_neighbours
from salt.seeding import generator
from salt.store import TileStore, open_store

SIDES = ["left", "right", "up", "down", "previous", "next"]
SCHEMES = ("section", "depth", "random")


def index_tiles(
    ingest: Path, out: Path, *, folds: Sequence[int], scheme: str, stack: str, seed: int
) -> dict[str, Any]:
    """Write neighbours.csv, folds.csv and summary.json; return the summary.

    neighbours.csv: id, left, right, up, down, mosaic, row, column, previous, next for every
    tile. folds.csv: id, fold, group for every labelled tile; tiles of one group lie in one
    fold under the scheme `section`, not under `depth` and `random`. The summary compares all
    schemes: the pairs of neighbours each separates, its folds' sizes and its balance of classes.

    Raises:
        StoreError: the stack or the folds asked for cannot be had from these tiles.
    """
    store = open_store(ingest)
    puzzle = jigsaw(np.asarray(store.images), seed)
    channels = stack_neighbours(store.table, stack, puzzle.sides)
    sides = dict(zip(SIDES[4:], channels, strict=True))
    neighbours = neighbour_table(store, puzzle, sides)
    groups = _groups(store, puzzle)
    dealt = _deal(store, groups, folds, scheme, seed)
    folds_table = pd.DataFrame({"id": store.labelled["id"], "fold": dealt[scheme], "group": groups})
    summary = {
        **_sections_summary(puzzle, store),
        **_stack_summary(neighbours, stack),
        "folds": {
            "scheme": scheme,
            "per_fold": _balance(folds_table, store),
            "separated_pairs": {name: _separated(store, puzzle, dealt[name]) for name in dealt},
            "pairs": _separated(store, puzzle, np.arange(len(groups))),  # a fold for every tile
            "balance": {name: _evenness(store, dealt[name]) for name in dealt},
        },
    }
    write_csv(out / "neighbours.csv", neighbours)
    write_csv(out / "folds.csv", folds_table)
    write_json(out / "summary.json", summary)
    return summary


def neighbour_table(store: TileStore, puzzle: Jigsaw, stack: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the columns of neighbours.csv; "" where a tile has no such neighbour.

    `stack` holds `previous` and `next` as rows of the store, int64 [n], -1 where none.
    """
    ids = np.append(store.table["id"].to_numpy(dtype=object), "")  # row -1 is nobody
    named = {side: ids[rows] for side, rows in (puzzle.sides | stack).items()}
    layout = puzzle.layout
    return pd.DataFrame(
        {
            "id": store.table["id"],
            **{side: named[side] for side in SIDES[:4]},
            "mosaic": layout.mosaic,
            "row": layout.row,
            "column": layout.column,
            **{side: named[side] for side in SIDES[4:]},
        }
    )


def _groups(store: TileStore, puzzle: Jigsaw) -> np.ndarray:
    volume = store.table["volume"].to_numpy() if "volume" in store.table else None
    return groups_of(puzzle.layout.mosaic, volume)[: len(store.masks)]


def _deal(
    store: TileStore, groups: np.ndarray, folds: Sequence[int], scheme: str, seed: int
) -> dict[str, np.ndarray]:
    """Return the fold of each labelled tile under every scheme, to compare them.

    Few sections may be too few for `section`, which then is left out unless it is asked for.
    """
    classes = store.labelled["coverage_class"].to_numpy()
    draw = {name: generator(seed, "folds", name) for name in SCHEMES}
    depth = store.labelled["depth"].to_numpy(np.float64)
    dealt = {
        "depth": depth_folds(depth, folds, draw["depth"]),
        "random": random_folds(classes, folds, draw["random"]),
    }
    try:
        dealt["section"] = section_folds(groups, classes, folds, draw["section"])
    except StoreError:
        if scheme == "section":
            raise
    return dealt


def _sections_summary(puzzle: Jigsaw, store: TileStore) -> dict[str, Any]:
    sizes = np.bincount(puzzle.layout.mosaic)
    summary: dict[str, Any] = {
        "tiles": len(store.table),
        "edges": len(puzzle.seams),
        "sections": int((sizes > 1).sum()),
        "tiles_in_sections": int(sizes[sizes > 1].sum()),
        "largest_section": int(sizes.max()),
    }
    if has_geometry(store.table):  # the tiles' places are known, so the jigsaw can be checked
        summary["jigsaw"] = seam_accuracy(puzzle.sides, store.table[GEOMETRY].to_numpy())
    return summary


def _stack_summary(neighbours: pd.DataFrame, stack: str) -> dict[str, Any]:
    return {
        "stack": stack,
        "tiles_without_previous": int((neighbours["previous"] == "").sum()),
        "tiles_without_next": int((neighbours["next"] == "").sum()),
    }


def _balance(folds_table: pd.DataFrame, store: TileStore) -> dict[str, Any]:
    """Return each fold's size and how its tiles spread over the classes of coverage."""
    classes = store.labelled["coverage_class"].to_numpy()
    return {
        str(fold): {
            "tiles": len(rows),
            "groups": int(rows["group"].nunique()),
            "without_salt": round(float((classes[rows.index] == 0).mean()), 4),
            "tiles_by_coverage_class": np.bincount(
                classes[rows.index], minlength=classes.max() + 1
            ).tolist(),
        }
        for fold, rows in folds_table.groupby("fold")
    }


def _evenness(store: TileStore, fold: np.ndarray) -> dict[str, Any]:
    """Return sizes and shares without salt, fold by fold, and how unlike all tiles one gets."""
    classes = store.labelled["coverage_class"].to_numpy()
    parts = [classes[fold == name] for name in np.unique(fold)]
    return {
        "tiles": [len(part) for part in parts],
        "without_salt": [round(float((part == 0).mean()), 4) for part in parts],
        "class_imbalance": round(class_imbalance(classes, fold), 4),
    }


def _separated(store: TileStore, puzzle: Jigsaw, fold: np.ndarray) -> dict[str, int]:
    """Count labelled neighbours in different folds, side by side and (if known) across inlines."""
    pairs = {"seams": [puzzle.sides["right"], puzzle.sides["down"]]}
    if has_geometry(store.table):
        pairs["inlines"] = [stack_neighbours(store.table, "volume")[1]]
    return {name: separated_pairs(successors, fold) for name, successors in pairs.items()}

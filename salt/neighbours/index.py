"""The neighbour index: neighbours, sections and folds of a tile store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.files import write_csv, write_json
from salt.neighbours.folds import groups_of, random_folds, section_folds, separated_pairs
from salt.neighbours.jigsaw import jigsaw
from salt.neighbours.sections import Layout, adjacent
from salt.neighbours.stack import stack_neighbours
from salt.seeding import generator
from salt.store import TileStore, open_store

SIDES = ["left", "right", "up", "down", "previous", "next"]


def index_tiles(
    ingest: Path, out: Path, *, folds: Sequence[int], scheme: str, stack: str, seed: int
) -> dict[str, Any]:
    """Write neighbours.csv, folds.csv and summary.json; return the summary.

    neighbours.csv: id, left, right, up, down, mosaic, row, column, previous, next for every
    tile. folds.csv: id, fold, group for every labelled tile; tiles of one group lie in one
    fold under the scheme `section`, not under `random`.

    Raises:
        StoreError: the stack or the folds asked for cannot be had from these tiles.
    """
    store = open_store(ingest)
    layout = jigsaw(np.asarray(store.images))
    neighbours = neighbour_table(store, layout, stack)
    volume = store.table["volume"].to_numpy() if "volume" in store.table else None
    count = len(store.masks)
    groups = groups_of(layout.mosaic, volume)[:count]
    classes = store.labelled["coverage_class"].to_numpy()
    schemes = {
        "section": section_folds(groups, classes, folds, generator(seed, "folds", "section")),
        "random": random_folds(classes, folds, generator(seed, "folds", "random")),
    }
    ids = store.labelled["id"]
    table = pd.DataFrame({"id": ids, "fold": schemes[scheme], "group": groups})
    summary = _summary(layout, neighbours, table, classes, scheme, stack)
    for name, fold in schemes.items():
        by_id = pd.Series(fold, index=ids)
        summary["folds"][f"pairs_separated_by_{name}"] = separated_pairs(neighbours, by_id)
    write_csv(out / "neighbours.csv", neighbours)
    write_csv(out / "folds.csv", table)
    write_json(out / "summary.json", summary)
    return summary


def neighbour_table(store: TileStore, layout: Layout, stack: str) -> pd.DataFrame:
    """Return the columns of neighbours.csv; "" where a tile has no such neighbour."""
    rows = adjacent(layout)
    rows["previous"], rows["next"] = stack_neighbours(store.table, stack)
    ids = np.append(store.table["id"].to_numpy(dtype=object), "")  # row -1 is nobody
    named = {side: ids[rows[side]] for side in SIDES}
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


def _summary(
    layout: Layout,
    neighbours: pd.DataFrame,
    folds: pd.DataFrame,
    classes: np.ndarray,
    scheme: str,
    stack: str,
) -> dict[str, Any]:
    sizes = np.bincount(layout.mosaic)
    per_fold = {
        str(fold): {
            "tiles": len(rows),
            "groups": int(rows["group"].nunique()),
            "without_salt": round(float((classes[rows.index] == 0).mean()), 4),
            "mean_coverage_class": round(float(classes[rows.index].mean()), 4),
        }
        for fold, rows in folds.groupby("fold")
    }
    return {
        "tiles": len(neighbours),
        "edges": int((neighbours[["right", "down"]] != "").sum().sum()),
        "sections": int((sizes > 1).sum()),
        "tiles_in_sections": int(sizes[sizes > 1].sum()),
        "largest_section": int(sizes.max()),
        "stack": stack,
        "tiles_without_previous": int((neighbours["previous"] == "").sum()),
        "tiles_without_next": int((neighbours["next"] == "").sum()),
        "folds": {"scheme": scheme, "per_fold": per_fold},
    }

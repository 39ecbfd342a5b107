"""The blend's maps, written as an ensemble stage writes its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.blend.runs import FinishedRun
from salt.blend.weights import Plan
from salt.files import new_array, write_csv, write_json
from salt.infer.blending import average_maps, entropy_levels
from salt.store import TileStore

CHUNK = 256  # tiles blended at a time: memory does not grow with tiles or runs


def write_blend(
    runs: Sequence[FinishedRun],
    plans: Mapping[int | None, Plan],
    average: str,
    store: TileStore,
    out: Path,
) -> None:
    """Write the blend of the runs' maps to the folder `out`.

    PART_probability.npy (float16), PART_uncertainty.npy (uint8, entropy of the blend) and
    PART_tiles.csv (id, fold, presence) for the parts `oof` and `test` (without fold);
    oof_by_decision.npy, all labelled tiles under each plan taken, which the choice of the rule
    needs; summary.json (members, average, decision_of).
    """
    distinct = list(dict.fromkeys(plans.values()))
    _write_out_of_fold(runs, plans, distinct, average, out)
    _write_test(runs, plans[None], average, out)
    presence = mean_presence([run.presence for run in runs])
    tiles = {"id": store.labelled["id"], "fold": runs[0].folds, "presence": presence}
    write_csv(out / "oof_tiles.csv", pd.DataFrame(tiles))
    test_presence = mean_presence([run.test_presence for run in runs])
    test_tiles = {"id": store.unlabelled["id"], "presence": test_presence}
    write_csv(out / "test_tiles.csv", pd.DataFrame(test_tiles))
    places = {"test" if k is None else str(k): distinct.index(plan) for k, plan in plans.items()}
    members = [str(run.folder) for run in runs]
    summary = {"members": members, "average": average, "decision_of": places}
    write_json(out / "summary.json", summary)


def mean_presence(members: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean float32 [n] over the members that have a presence, NaN where none has.

    Equally whatever the maps weigh: these weights are fitted to pixels, which say nothing
    about the presence heads.
    """
    values = np.stack(members)
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean.astype(np.float32)


def _write_out_of_fold(
    runs: Sequence[FinishedRun],
    plans: Mapping[int | None, Plan],
    distinct: list[Plan],
    average: str,
    out: Path,
) -> None:
    place_of_tile = np.array([distinct.index(plans[fold]) for fold in runs[0].folds.tolist()])
    shape = runs[0].by_decision.shape[1:]
    with (
        new_array(out / "oof_by_decision.npy", (len(distinct), *shape), np.float16) as under,
        new_array(out / "oof_probability.npy", shape, np.float16) as probability,
        new_array(out / "oof_uncertainty.npy", shape, np.uint8) as levels,
        tqdm(total=shape[0], desc="blend out-of-fold", unit="tile", mininterval=1.0) as progress,
    ):
        for start in range(0, shape[0], CHUNK):
            rows = np.arange(start, min(start + CHUNK, shape[0]))
            for place, plan in enumerate(distinct):
                pairs = zip(runs, plan.decisions, strict=True)
                maps = (run.by_decision[decision, rows] for run, decision in pairs)
                mean = average_maps(maps, plan.weights, average)
                under[place, rows] = mean
                own = place_of_tile[rows] == place
                probability[rows[own]], levels[rows[own]] = mean[own], entropy_levels(mean[own])
            progress.update(len(rows))


def _write_test(runs: Sequence[FinishedRun], plan: Plan, average: str, out: Path) -> None:
    shape = runs[0].test.shape
    with (
        new_array(out / "test_probability.npy", shape, np.float16) as probability,
        new_array(out / "test_uncertainty.npy", shape, np.uint8) as levels,
        tqdm(total=shape[0], desc="blend test", unit="tile", mininterval=1.0) as progress,
    ):
        for start in range(0, shape[0], CHUNK):
            chunk = slice(start, start + CHUNK)
            mean = average_maps((run.test[chunk] for run in runs), plan.weights, average)
            probability[chunk], levels[chunk] = mean, entropy_levels(mean)
            progress.update(len(mean))

"""Join the folds: out-of-fold maps in store order, test maps averaged over folds.

Whether the refined maps replace the unrefined ones is decided for each fold by the *other*
folds' gain, so that no tile's score decides about itself; for test tiles by all folds'. What
is adopted then passes through the sections' post-processing (see `salt.infer.sections`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.errors import StoreError
from salt.files import new_array, write_array, write_csv, write_json
from salt.infer.postprocess import Steps
from salt.infer.rule import DEFAULT_RULE, apply_rule
from salt.infer.sections import measure_steps, process_out_of_fold, process_test
from salt.maps import LN2, FoldMaps, open_maps, open_probability
from salt.metrics import Gain, paired_gain, tile_scores
from salt.neighbours.mosaics import read_layout
from salt.neighbours.sections import Layout
from salt.seeding import generator
from salt.store import TileStore, open_store

RESAMPLES = 2000
CHUNK = 256  # tiles averaged at a time: memory does not grow with tiles or members


@dataclass(frozen=True)
class OutOfFold:
    """Both candidates for every labelled tile, in store order.

    Attributes:
        fold: int [m]; presence: float32 [m].
        plain, refined: float16 [m, S, S]; entropy: uint8 [m, S, S].
    """

    fold: np.ndarray
    presence: np.ndarray
    plain: np.ndarray
    refined: np.ndarray
    entropy: np.ndarray


def gather_out_of_fold(
    store: TileStore, uncertainty: Path, refine: Path, folds: Sequence[int]
) -> OutOfFold:
    """Put the folds' out-of-fold maps into store order.

    Raises:
        StoreError: a labelled tile is in no fold or in two, or a fold's stages disagree.
    """
    count, size = len(store.masks), store.masks.shape[-1]
    gathered = OutOfFold(
        fold=np.full(count, -1),
        presence=np.empty(count, np.float32),
        plain=np.empty((count, size, size), np.float16),
        refined=np.empty((count, size, size), np.float16),
        entropy=np.empty((count, size, size), np.uint8),
    )
    for fold in folds:
        maps = open_maps(uncertainty / str(fold), "oof")
        ids, refined, _ = open_probability(refine / str(fold), "oof")
        rows = store.rows_of(maps.ids)
        labelled = rows.max(initial=-1) < count
        if ids != maps.ids or not labelled or (gathered.fold[rows] >= 0).any():
            raise StoreError(
                f"fold {fold}: tiles of {refine} and {uncertainty} differ or are in another fold "
                "too, or unlabelled; expected each labelled tile once. Rerun from the index stage."
            )
        gathered.fold[rows], gathered.presence[rows] = fold, maps.presence
        gathered.plain[rows], gathered.refined[rows] = maps.mean, refined
        gathered.entropy[rows] = maps.entropy
    if (gathered.fold < 0).any():
        raise StoreError(
            f"{(gathered.fold < 0).sum()} of {count} labelled tiles are in none of the folds "
            f"{list(folds)}; expected all. Rerun from the index stage with `dvc repro`."
        )
    return gathered


def refinement_gains(
    tiles: OutOfFold, store: TileStore, folds: Sequence[int], seed: int
) -> dict[int | None, Gain]:
    """Return the refiner's paired gain at threshold 0.5: without each fold, and (None) on all."""
    scores = [
        tile_scores(apply_rule(maps, tiles.presence, DEFAULT_RULE), store.masks, store.ignore)
        for maps in (tiles.refined, tiles.plain)
    ]
    gains = {}
    for left_out in (*folds, None):
        chosen = tiles.fold != left_out if left_out is not None else slice(None)
        rng = generator(seed, "ensemble", "gain", -1 if left_out is None else left_out)
        gains[left_out] = paired_gain(scores[0][chosen], scores[1][chosen], RESAMPLES, rng)
    return gains


def adopts(gain: Gain, adopt: str) -> bool:
    """Tell whether refined maps are used: `always`, `never`, or if the gain is surely above 0."""
    return adopt == "always" or (adopt == "auto" and gain.low > 0)


def ensemble_folds(
    uncertainty: Path,
    refine: Path,
    ingest: Path,
    neighbours: Path,
    out: Path,
    *,
    folds: Sequence[int],
    adopt: str,
    steps: Steps,
    seed: int,
) -> None:
    """Write the final probability and uncertainty maps of labelled and test tiles.

    Writes oof_probability.npy, oof_uncertainty.npy, oof_tiles.csv (id, fold, presence),
    the same for `test` without fold, and summary.json (members, adoption, gains). The sections
    of `neighbours`, the index stage's neighbours.csv, are post-processed by `steps`.
    """
    store = open_store(ingest)
    layout = read_layout(neighbours, store.table["id"])
    tiles = gather_out_of_fold(store, uncertainty, refine, folds)
    gains = refinement_gains(tiles, store, folds, seed)
    use_refined = adopts(gains[None], adopt)
    refined_in = {fold: adopts(gains[fold], adopt) for fold in folds}
    own_test_maps = {
        fold: open_test_maps(store, uncertainty, refine, [fold], refined_in[fold])[1][0]
        for fold in folds
    }
    members, maps = open_test_maps(store, uncertainty, refine, folds, use_refined)
    adopted = _adopted(tiles, refined_in)
    processed = process_out_of_fold(adopted, tiles.fold, own_test_maps, layout, steps)
    _write_out_of_fold(tiles, processed, store, out)
    _write_test(store, members, maps, layout, steps, out)
    effects = measure_steps(
        adopted, tiles.presence, tiles.fold, own_test_maps, store, layout, steps, seed
    )
    summary = _summary(folds, adopt, gains, use_refined) | {"postprocessing": effects}
    write_json(out / "summary.json", summary)


def open_test_maps(
    store: TileStore, uncertainty: Path, refine: Path, folds: Sequence[int], use_refined: bool
) -> tuple[list[FoldMaps], list[np.ndarray]]:
    """Return the folds' test maps and, of each fold, the probability to average.

    Raises:
        StoreError: a fold's tiles are not the store's test tiles in order.
    """
    expected = list(store.unlabelled["id"])
    members = [open_maps(uncertainty / str(fold), "test") for fold in folds]
    maps = []
    for fold, member in zip(folds, members, strict=True):
        ids, probability = member.ids, member.mean
        if use_refined:
            ids, probability, _ = open_probability(refine / str(fold), "test")
        if member.ids != expected or ids != expected:
            raise StoreError(
                f"fold {fold} predicted {len(ids)} test tiles that are not the store's "
                f"{len(expected)} in order. Rerun its uncertainty and refine stages with "
                "`dvc repro -f`."
            )
        maps.append(probability)
    return members, maps


def _adopted(tiles: OutOfFold, refined_in: dict[int, bool]) -> np.ndarray:
    adopted = tiles.plain.copy()
    for fold, use_refined in refined_in.items():
        if use_refined:
            adopted[tiles.fold == fold] = tiles.refined[tiles.fold == fold]
    return adopted


def _write_out_of_fold(
    tiles: OutOfFold, probability: np.ndarray, store: TileStore, out: Path
) -> None:
    write_array(out / "oof_probability.npy", probability)
    with new_array(out / "oof_uncertainty.npy", tiles.entropy.shape, np.uint8) as uncertainty:
        uncertainty[:] = tiles.entropy
    columns = {"id": store.labelled["id"], "fold": tiles.fold, "presence": tiles.presence}
    write_csv(out / "oof_tiles.csv", pd.DataFrame(columns))


def _write_test(
    store: TileStore,
    members: list[FoldMaps],
    maps: list[np.ndarray],
    layout: Layout,
    steps: Steps,
    out: Path,
) -> None:
    ids = list(store.unlabelled["id"])
    shape = (len(ids), *store.images.shape[1:])
    with (
        new_array(out / "test_probability.npy", shape, np.float16) as probability,
        new_array(out / "test_uncertainty.npy", shape, np.uint8) as levels,
        tqdm(total=len(ids), desc="ensemble test", unit="tile", mininterval=1.0) as progress,
    ):
        for start in range(0, len(ids), CHUNK):
            chunk = slice(start, start + CHUNK)
            mean = np.mean([member[chunk].astype(np.float32) for member in maps], axis=0)
            probability[chunk] = mean
            levels[chunk] = np.rint(_entropy(mean) / LN2 * 255)
            progress.update(len(mean))
        process_test(probability, store, layout, steps)
    presence = np.mean([member.presence for member in members], axis=0)
    write_csv(out / "test_tiles.csv", pd.DataFrame({"id": ids, "presence": presence}))


def _entropy(probability: np.ndarray) -> np.ndarray:
    """Binary entropy in nats, float32."""
    from scipy.special import entr

    return entr(probability) + entr(1 - probability)


def _summary(
    folds: Sequence[int], adopt: str, gains: dict[int | None, Gain], use_refined: bool
) -> dict[str, Any]:
    def as_dict(gain: Gain) -> dict[str, Any]:
        return {
            "gain": round(gain.mean, 6),
            "interval": [round(gain.low, 6), round(gain.high, 6)],
            "refined": adopts(gain, adopt),
        }

    return {
        "members": list(folds),
        "adopt": adopt,
        "refined": use_refined,
        "refinement_gain": as_dict(gains[None]),
        "decided_by_other_folds": {str(fold): as_dict(gains[fold]) for fold in folds},
    }

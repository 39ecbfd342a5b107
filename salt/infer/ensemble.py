"""Join the folds: out-of-fold maps in store order, test maps averaged over folds.

How much plain and refined maps weigh is decided in `salt.infer.candidates`. What is adopted may
be smoothed by the image (`salt.infer.crf`) and then passes through the sections' post-processing
(`salt.infer.sections`).

A rule chosen on the other folds has to be chosen on maps of the kind that it will be applied to.
So all labelled tiles are also written under each decision that was taken for any of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.errors import StoreError
from salt.files import new_array, write_array, write_csv, write_json
from salt.infer.blending import average_maps, entropy_levels
from salt.infer.candidates import (
    OutOfFold,
    distinct_decisions,
    gather_out_of_fold,
    member_weights,
    refinement_gains,
)
from salt.infer.crf import smooth_by_image
from salt.infer.postprocess import Steps
from salt.infer.sections import measure_steps, process_out_of_fold, process_test
from salt.maps import open_maps, open_probability
from salt.metrics import Gain
from salt.neighbours.mosaics import read_layout
from salt.neighbours.sections import Layout
from salt.store import TileStore, open_store

CHUNK = 256  # tiles averaged at a time: memory does not grow with tiles or members
Blend = Callable[[Iterable[np.ndarray], list[float], np.ndarray], np.ndarray]
"""Members' maps of the tiles in the store's rows, and their weights -> final maps."""


def ensemble_folds(
    uncertainty: Path,
    refine: Path,
    ingest: Path,
    neighbours: Path,
    out: Path,
    *,
    folds: Sequence[int],
    adopt: str,
    average: str,
    weights: str,
    crf_iterations: int,
    steps: Steps,
    seed: int,
) -> None:
    """Write the final probability and uncertainty maps of labelled and test tiles.

    Writes oof_probability.npy, oof_uncertainty.npy, oof_tiles.csv (id, fold, presence),
    the same for `test` without fold, oof_by_decision.npy (float16 [D, m, S, S], see
    `distinct_decisions`) and summary.json (members, weights, gains).

    Args:
        neighbours: the index stage's neighbours.csv, whose sections are post-processed.
        adopt, weights: see `salt.infer.candidates`; average: see `average_maps`;
            crf_iterations: see `smooth_by_image`; steps: see `salt.infer.postprocess`.
    """
    store = open_store(ingest)
    layout = read_layout(neighbours, store.table["id"])
    tiles = gather_out_of_fold(store, uncertainty, refine, folds)
    gains = refinement_gains(tiles, store, folds, seed)
    shares = member_weights(tiles, store, gains, adopt, weights)
    members = open_test_maps(store, uncertainty, refine, folds)

    def blend(maps: Iterable[np.ndarray], share: list[float], rows: np.ndarray) -> np.ndarray:
        return smooth_by_image(
            average_maps(maps, share, average), store.images[rows], crf_iterations
        )

    def test_maps(share_of: Mapping[int | None, list[float]]) -> dict[int, BlendedMaps]:
        return {
            fold: BlendedMaps(member, share_of[fold], blend, len(store.masks))
            for fold, member in zip(folds, members, strict=True)
        }

    decisions, decision_of = distinct_decisions(shares)
    blended = np.stack([_blend_out_of_fold(tiles, share, blend) for share in decisions])
    processed = np.stack(
        [
            process_out_of_fold(
                maps, tiles.fold, test_maps(dict.fromkeys(shares, share)), layout, steps
            )
            for maps, share in zip(blended, decisions, strict=True)
        ]
    )
    write_array(out / "oof_by_decision.npy", processed)
    own = ([decision_of[fold] for fold in tiles.fold.tolist()], np.arange(len(tiles.fold)))
    _write_out_of_fold(tiles, processed[own], store, out)
    _write_test(store, members, shares[None], blend, layout, steps, out)
    effects = measure_steps(
        blended[own], tiles.presence, tiles.fold, test_maps(shares), store, layout, steps, seed
    )
    summary = _summary(folds, adopt, average, gains, shares) | {"postprocessing": effects}
    summary["decision_of"] = {str(fold): place for fold, place in decision_of.items()}
    write_json(out / "summary.json", summary)


@dataclass(frozen=True)
class MemberMaps:
    """One fold's test maps, memory-mapped: plain, refined [n, S, S], and presence [n]."""

    plain: np.ndarray
    refined: np.ndarray
    presence: np.ndarray


@dataclass(frozen=True)
class BlendedMaps:
    """One member's test maps [S, S] as they are blended for its own fold, made when asked for."""

    member: MemberMaps
    share: list[float]
    blend: Blend
    first_row: int

    def __getitem__(self, tile: int) -> np.ndarray:
        maps = (array[tile][None] for array in (self.member.plain, self.member.refined))
        return self.blend(maps, self.share, np.array([self.first_row + tile]))[0]


def open_test_maps(
    store: TileStore, uncertainty: Path, refine: Path, folds: Sequence[int]
) -> list[MemberMaps]:
    """Open the folds' test maps, the ensemble's members.

    Raises:
        StoreError: a fold is named twice, or its tiles are not the store's test tiles in order.
    """
    if len(set(folds)) < len(folds):
        raise StoreError(
            f"members {list(folds)}; expected each fold once. Remove the one named twice."
        )
    expected = list(store.unlabelled["id"])
    members = []
    for fold in folds:
        plain = open_maps(uncertainty / str(fold), "test")
        ids, refined, _ = open_probability(refine / str(fold), "test")
        if plain.ids != expected or ids != expected:
            raise StoreError(
                f"fold {fold} predicted {len(ids)} test tiles that are not the store's "
                f"{len(expected)} in order. Rerun its uncertainty and refine stages with "
                "`dvc repro -f`."
            )
        members.append(MemberMaps(plain.mean, refined, plain.presence))
    return members


def _blend_out_of_fold(tiles: OutOfFold, share: list[float], blend: Blend) -> np.ndarray:
    probability = np.empty_like(tiles.plain)
    for start in range(0, len(probability), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(probability)))
        maps = (array[rows] for array in (tiles.plain, tiles.refined))
        probability[rows] = blend(maps, share, rows)
    return probability


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
    members: list[MemberMaps],
    share: list[float],
    blend: Blend,
    layout: Layout,
    steps: Steps,
    out: Path,
) -> None:
    ids, rows = list(store.unlabelled["id"]), store.unlabelled["row"].to_numpy()
    shape = (len(ids), *store.images.shape[1:])
    with (
        new_array(out / "test_probability.npy", shape, np.float16) as probability,
        new_array(out / "test_uncertainty.npy", shape, np.uint8) as levels,
        tqdm(total=len(ids), desc="ensemble test", unit="tile", mininterval=1.0) as progress,
    ):
        for start in range(0, len(ids), CHUNK):
            chunk = slice(start, start + CHUNK)
            maps = (array[chunk] for member in members for array in (member.plain, member.refined))
            mean = blend(maps, share * len(members), rows[chunk])
            probability[chunk] = mean
            levels[chunk] = entropy_levels(mean)
            progress.update(len(mean))
        process_test(probability, store, layout, steps)
    presence = np.mean([member.presence for member in members], axis=0)
    write_csv(out / "test_tiles.csv", pd.DataFrame({"id": ids, "presence": presence}))


def _summary(
    folds: Sequence[int],
    adopt: str,
    average: str,
    gains: dict[int | None, Gain],
    shares: dict[int | None, list[float]],
) -> dict[str, Any]:
    def as_dict(left_out: int | None) -> dict[str, Any]:
        gain = gains[left_out]
        return {
            "gain": round(gain.mean, 6),
            "interval": [round(gain.low, 6), round(gain.high, 6)],
            "refined": shares[left_out][1] > 0,
            "weights": dict(zip(("plain", "refined"), shares[left_out], strict=True)),
        }

    return {
        "members": list(folds),
        "adopt": adopt,
        "average": average,
        "refined": shares[None][1] > 0,
        "refinement_gain": as_dict(None),
        "decided_by_other_folds": {str(fold): as_dict(fold) for fold in folds},
    }

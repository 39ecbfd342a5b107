"""Plain or refined: both maps of every labelled tile, and the decision between them.

Whether the refined maps replace the plain ones, or how much they weigh beside them, is decided
for each fold by the *other* folds, so that no tile's score decides about itself; for test tiles by
all folds.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salt.errors import StoreError
from salt.infer.blending import brier_products, fit_weights
from salt.infer.rule import DEFAULT_RULE, apply_rule
from salt.maps import open_maps, open_probability
from salt.metrics import Gain, paired_gain, tile_scores
from salt.seeding import generator
from salt.store import TileStore

RESAMPLES = 2000


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


def member_weights(
    tiles: OutOfFold,
    store: TileStore,
    gains: dict[int | None, Gain],
    adopt: str,
    weights: str,
) -> dict[int | None, list[float]]:
    """Return the weights of plain and refined maps for each fold's tiles, and (None) for test.

    `equal` takes the one or the other by `adopts`; `fitted` weighs both, for the lowest Brier
    score of the other folds.
    """
    if weights == "equal":
        return {
            left_out: [0.0, 1.0] if adopts(gain, adopt) else [1.0, 0.0]
            for left_out, gain in gains.items()
        }
    own = {}
    for fold in (fold for fold in gains if fold is not None):
        rows = np.flatnonzero(tiles.fold == fold)
        members = [tiles.plain[rows], tiles.refined[rows]]
        own[fold] = brier_products(members, store.masks[rows], store.ignore[rows])
    everything = functools.reduce(lambda total, part: total.plus(part), own.values())
    return {
        left_out: fit_weights(
            everything if left_out is None else everything.plus(own[left_out], -1)
        ).tolist()
        for left_out in gains
    }


def distinct_decisions(
    shares: Mapping[int | None, list[float]],
) -> tuple[list[list[float]], dict[int | str, int]]:
    """Return the different weights among `shares`, and which of them holds for whose tiles.

    The second maps a fold, or `test`, to a place in the first.
    """
    decisions = [list(share) for share in dict.fromkeys(map(tuple, shares.values()))]
    return decisions, {
        "test" if fold is None else fold: decisions.index(list(share))
        for fold, share in shares.items()
    }

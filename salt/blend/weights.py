"""How much each run weighs: equally, or fitted on the folds that a tile is not in."""

from collections.abc import Mapping, Sequence
from functools import cache, reduce
from typing import NamedTuple

import numpy as np

from salt.blend.runs import FinishedRun
from salt.errors import ParameterError
from salt.infer.blending import TILES_AT_ONCE, Products, brier_products, fit_weights
from salt.store import TileStore


class Plan(NamedTuple):
    """How maps are blended: the weight of each run, and which of its decisions they follow."""

    weights: tuple[float, ...]
    decisions: tuple[int, ...]


def plan_blend(
    runs: Sequence[FinishedRun], store: TileStore, weights: str, average: str
) -> dict[int | None, Plan]:
    """Return the plan for the tiles of each fold, and (None) for test tiles.

    Args:
        weights: `equal`, or `fitted`: the weights 0 or more, of sum 1, with the lowest Brier
            score on all other folds; for test tiles on all folds.
        average: see `salt.infer.blending.average_maps`.

    Raises:
        ParameterError: weights cannot be fitted to a mean of logits.
    """
    if weights == "fitted" and average != "probability":
        raise ParameterError(
            f"weights fitted with average {average}; expected average probability, which the "
            "weights are fitted to. Change one of the two."
        )
    folds = runs[0].folds

    @cache  # the runs' decisions are mostly the same for all folds
    def products_under(decisions: tuple[int, ...]) -> dict[int, Products]:
        members = [run.by_decision[place] for run, place in zip(runs, decisions, strict=True)]
        return products_by_fold(members, store.masks, store.ignore, folds)

    plans = {}
    for left_out in (*np.unique(folds).tolist(), None):
        decisions = tuple(run.decision_of[left_out] for run in runs)
        shares = (1 / len(runs),) * len(runs)
        if weights == "fitted":
            shares = tuple(weights_without(products_under(decisions), left_out).tolist())
        plans[left_out] = Plan(shares, decisions)
    return plans


def products_by_fold(
    members: Sequence[np.ndarray], truths: np.ndarray, ignore: np.ndarray, folds: np.ndarray
) -> dict[int, Products]:
    """Return all that the Brier score of an average needs to know of each fold's tiles.

    Args:
        members: [m, H, W] each; read some tiles at a time, so they may be memory-mapped.
        truths, ignore: {0, 1} [m, H, W]; folds: int [m].
    """
    step = max(TILES_AT_ONCE // len(members), 1)
    products = {}
    for fold in np.unique(folds).tolist():
        rows = np.flatnonzero(folds == fold)
        parts = (rows[start : start + step] for start in range(0, len(rows), step))
        of_parts = (
            brier_products([member[part] for member in members], truths[part], ignore[part])
            for part in parts
        )
        products[fold] = reduce(Products.plus, of_parts)
    return products


def weights_without(products: Mapping[int, Products], left_out: int | None) -> np.ndarray:
    """Return the weights float64 [M] fitted on all folds but one, or (None) on all.

    They are summed anew rather than taken off a total, so that nothing of the fold, not even
    a rounding, is left in them.
    """
    others = (part for fold, part in products.items() if fold != left_out)
    return fit_weights(reduce(Products.plus, others))

"""Average the maps of several members, plainly or with weights fitted to the truth.

Weights are fitted on tiles that every member predicted without having seen them. In k folds
each labelled tile has one network, so the folds themselves cannot be weighed against each
other; what can is several maps of the same held-out tiles: plain and refined, architectures
trained on the same folds, snapshots.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import entr, expit, logit

from salt.errors import StoreError
from salt.maps import LN2

CERTAIN = 1e-4  # logits are those of probabilities from this to 1 - this
TILES_AT_ONCE = 256  # of all members together


class Products(NamedTuple):
    """All that the Brier score of an average needs to know of M members and the truth.

    Attributes:
        gram: float64 [M, M], sums over pixels of the members' products.
        target: float64 [M], sums of the products with the truth.
    """

    gram: np.ndarray
    target: np.ndarray

    def plus(self, other: "Products", sign: int = 1) -> "Products":
        """Return the products of both sets of tiles; with -1 those of this without the other."""
        return Products(self.gram + sign * other.gram, self.target + sign * other.target)


def average_maps(
    members: Iterable[np.ndarray], weights: Sequence[float], average: str
) -> np.ndarray:
    """Return the weighted mean of probability maps, float32.

    Members are taken one after the other, so memory does not grow with their number. One of
    weight 0 is not looked at, and a single one is returned as it is.

    Args:
        members: [n, H, W] each, all of one shape.
        weights: one per member, 0 or more; they need not sum to 1.
        average: `probability`, or `logit`: the mean of the logits.

    Raises:
        StoreError: no member has a weight, their number differs from the weights', or their
            shapes differ.
    """
    counted = sum(weight > 0 for weight in weights)
    if not counted or min(weights) < 0:
        raise StoreError(
            f"weights {list(weights)}; expected one above 0 and none below. Change the weights."
        )
    total, sharing = np.zeros(1, np.float32), average == "logit" and counted > 1
    for member, weight in _pairs(members, weights):
        if not weight:
            continue
        values = np.asarray(member, np.float32)
        if total.ndim > 1 and total.shape != values.shape:
            raise StoreError(
                f"a member of shape {values.shape} beside {total.shape}; expected maps of the "
                "same tiles. Rerun the stage that made them."
            )
        if sharing:
            values = logit(values.clip(CERTAIN, 1 - CERTAIN))
        total = total + np.float32(weight) * values
    mean = total / np.float32(sum(weights))
    return expit(mean) if sharing else mean


def entropy_levels(probability: np.ndarray) -> np.ndarray:
    """Return the binary entropy of probabilities in steps of ln 2 / 255, uint8, same shape."""
    probability = probability.clip(0, 1)  # an average may be rounded to a last bit above 1
    nats = entr(probability) + entr(1 - probability)
    return np.rint(nats / LN2 * 255).astype(np.uint8)


def brier_products(
    members: Sequence[np.ndarray], truths: np.ndarray, ignore: np.ndarray
) -> Products:
    """Return the products of members [n, H, W] with each other and with the truth {0, 1}.

    Pixels of the mask `ignore` are left out.
    """
    gram, target = np.zeros((len(members), len(members))), np.zeros(len(members))
    step = max(TILES_AT_ONCE // len(members), 1)
    for start in range(0, len(truths), step):
        part = slice(start, start + step)
        counted = np.asarray(ignore[part]) == 0
        values = np.stack([np.asarray(member[part])[counted] for member in members])
        values = values.astype(np.float64)  # [M, pixels]
        gram += values @ values.T
        target += values @ np.asarray(truths[part])[counted]
    return Products(gram, target)


def fit_weights(products: Products) -> np.ndarray:
    """Return the weights float64 [M] whose average has the lowest Brier score.

    They are 0 or more and sum to 1. The score is quadratic in them, so the best are unique
    unless members are copies of each other; of those, the most equal are taken.
    """
    count = len(products.target)
    scale = np.trace(products.gram) / count or 1.0  # black maps have no products at all
    gram, target = products.gram / scale, products.target / scale
    solution = minimize(
        lambda w: w @ gram @ w - 2 * target @ w,
        np.full(count, 1 / count),
        jac=lambda w: 2 * (gram @ w - target),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    weights = solution.x.clip(0)
    return weights / weights.sum()


def _pairs(
    members: Iterable[np.ndarray], weights: Sequence[float]
) -> Iterable[tuple[np.ndarray, float]]:
    try:
        yield from zip(members, weights, strict=True)
    except ValueError:
        raise StoreError(
            f"{len(weights)} weights for another number of members; expected one for each. "
            "Rerun the stages that made the members, or give as many weights."
        ) from None

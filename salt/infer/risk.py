"""Risk and coverage: how much error is left when the most uncertain tiles are set aside.

Selective prediction after Geifman and El-Yaniv 2017 (arXiv:1705.08500): tiles are ordered by
an uncertainty, the curve is the mean loss (1 - score) of the surest share of them, and the
area under it judges the order. The excess area (arXiv:1805.08206) is what an order costs
over the best possible one, by the loss itself; an order that knows nothing has the mean loss
as its area.
"""

import numpy as np
import pandas as pd

from salt.errors import InputError
from salt.metrics import Gain

_RESAMPLES_AT_ONCE = 64  # bounds the memory of the bootstrap


def risk_coverage(loss: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """Return the mean loss of the 1, 2 ... n surest tiles, float64 [n].

    Entry k - 1 belongs to the coverage k / n. Equally uncertain tiles have no order; each
    counts with their mean loss, which is the expectation over all orders.

    Args:
        loss: [n], such as 1 - score.
        uncertainty: [n], higher is less sure, in any unit.

    Raises:
        InputError: no tiles, different lengths, or a NaN.
    """
    loss, uncertainty = _checked(loss, uncertainty)
    _, group, size = np.unique(uncertainty, return_inverse=True, return_counts=True)
    expected = np.repeat(np.bincount(group, loss) / size, size)
    return expected.cumsum() / np.arange(1, len(loss) + 1)


def area_under_risk(loss: np.ndarray, uncertainty: np.ndarray) -> float:
    """Return the area under the risk-coverage curve (AURC): its mean over all coverages.

    Raises:
        InputError: no tiles, different lengths, or a NaN.
    """
    return float(risk_coverage(loss, uncertainty).mean())


def compare_orders(loss: np.ndarray, uncertainties: pd.DataFrame) -> pd.DataFrame:
    """Return the areas of several uncertainties (one per column), of chance and of the oracle.

    Returns:
        One row each, smallest area first: order (its name, `random` or `oracle`), area and
        excess (over the oracle).

    Raises:
        InputError: no tiles, different lengths, or a NaN.
    """
    areas = {
        str(name): area_under_risk(loss, column.to_numpy())
        for name, column in uncertainties.items()
    }
    areas |= {"random": float(np.mean(loss)), "oracle": area_under_risk(loss, loss)}
    table = pd.DataFrame({"order": list(areas), "area": list(areas.values())})
    table["excess"] = table["area"] - areas["oracle"]
    return table.sort_values("area", kind="stable", ignore_index=True)


def area_gain(
    loss: np.ndarray,
    uncertainty: np.ndarray,
    reference: np.ndarray,
    samples: int,
    generator: np.random.Generator,
    confidence: float = 0.95,
) -> Gain:
    """Return by how much the area under `uncertainty` is smaller than under `reference`.

    The interval is a percentile bootstrap over tiles, which are resampled with both their
    uncertainties, so what is hard for both cancels out. Ties are broken at random.

    Raises:
        InputError: no tiles, different lengths, or a NaN.
    """
    loss, uncertainty = _checked(loss, uncertainty)
    _, reference = _checked(loss, reference)
    orders = [np.lexsort((generator.random(len(loss)), u)) for u in (reference, uncertainty)]
    gains = np.empty(samples)
    for start in range(0, samples, _RESAMPLES_AT_ONCE):
        stop = min(start + _RESAMPLES_AT_ONCE, samples)
        drawn = generator.integers(len(loss), size=(stop - start, len(loss)))
        before, after = (_resampled_areas(loss, order, drawn) for order in orders)
        gains[start:stop] = before - after
    low, high = np.quantile(gains, [(1 - confidence) / 2, (1 + confidence) / 2])
    gain = area_under_risk(loss, reference) - area_under_risk(loss, uncertainty)
    return Gain(gain, float(low), float(high))


def _resampled_areas(loss: np.ndarray, order: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the area of each resample [s] of tiles `drawn` [s, n], sorted by `order` [n]."""
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    sorted_loss = loss[order][np.sort(place[drawn], axis=1)]  # [s, n]
    return (sorted_loss.cumsum(axis=1) / np.arange(1, len(order) + 1)).mean(axis=1)


def _checked(loss: np.ndarray, uncertainty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    loss, uncertainty = np.asarray(loss, np.float64), np.asarray(uncertainty, np.float64)
    unknown = np.isnan(loss).any() or np.isnan(uncertainty).any()
    if loss.shape != uncertainty.shape or loss.ndim != 1 or not len(loss) or unknown:
        raise InputError(
            f"losses of shape {loss.shape} and uncertainties of {uncertainty.shape}"
            f"{', some of them NaN' if unknown else ''}; expected one known number per tile in "
            "each. Leave out tiles or uncertainties that are not known."
        )
    return loss, uncertainty

"""How much salt predictions hold, compared with the labels they were learnt from.

Test tiles come from the same survey as the training tiles, so a share of empty tiles or
a spread of coverage far from training's points to a broken rule or model.
"""

from typing import Any

import numpy as np

from salt.store import coverage_class

_TOLERATED = 0.05  # absolute; smaller differences are not worth a look even if certain
_CRITICAL = 1.63  # of Kolmogorov's distribution: exceeded by chance in 1 of 100 cases


def coverage_statistics(coverage: np.ndarray) -> dict[str, Any]:
    """Return count, share of empty tiles, mean coverage and shares of the coverage classes.

    `coverage` [n] is the share of salt in each tile; the classes are `store.coverage_class`.
    """
    counts = np.bincount(coverage_class(coverage), minlength=11)
    return {
        "tiles": len(coverage),
        "empty_share": float(np.mean(coverage == 0)),
        "mean_coverage": float(np.mean(coverage)),
        "class_shares": (counts / len(coverage)).tolist(),
    }


def drift_warnings(coverage: np.ndarray, training: np.ndarray) -> list[str]:
    """Return a sentence for each way in which `coverage` [n] strays from `training` [m].

    The share of empty tiles is compared by its difference, the coverage of the others by
    the Kolmogorov-Smirnov distance. Each may be 0.05 or what chance explains at these
    counts, whichever is larger.
    """
    warnings = []
    empty, usual = np.mean(coverage == 0), np.mean(training == 0)
    if abs(empty - usual) > _bound(len(coverage), len(training)):
        warnings.append(
            f"{empty:.1%} of the predicted masks are empty, in training {usual:.1%}; "
            "look at the rule's minimum size and presence gate, and at the probabilities"
        )
    salt, usual_salt = coverage[coverage > 0], training[training > 0]
    if not len(salt) or not len(usual_salt):
        return warnings
    distance = largest_distance(salt, usual_salt)
    if distance > _bound(len(salt), len(usual_salt)):
        warnings.append(
            f"tiles with salt are covered to {np.median(salt):.1%} (median), in training "
            f"{np.median(usual_salt):.1%}, and the distributions are {distance:.2f} apart; "
            "look at the rule's threshold and at the probabilities"
        )
    return warnings


def largest_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference between two samples' cumulative shares, in [0, 1].

    This is the two-sample statistic of Kolmogorov (1933) and Smirnov (1939).
    """
    values = np.concatenate([first, second])
    shares = [
        np.searchsorted(np.sort(sample), values, side="right") / len(sample)
        for sample in (first, second)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _bound(first: int, second: int) -> float:
    return float(max(_TOLERATED, _CRITICAL * np.sqrt(1 / first + 1 / second)))

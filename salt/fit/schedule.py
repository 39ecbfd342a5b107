"""Learning rate over training: factors on its peak, as functions of step and scores alone."""

import math
from collections.abc import Sequence

import numpy as np

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 25e4  # of the peak; the paper's and PyTorch's


def rate_factor(schedule: str, step: int, total: int, *, warmup_share: float, cycles: int) -> float:
    """Return the factor of a schedule by its name in params.yaml.

    `plateau` is constant here; `plateau_factor` multiplies it.
    """
    if schedule == "cosine":
        return warmup_cosine(step, total, warmup_share)
    if schedule == "one_cycle":
        return one_cycle(step, total, warmup_share)
    if schedule == "warm_restarts":
        return warm_restarts(step, total, warmup_share, cycles)
    return warmup_constant(step, total, warmup_share)


def warmup_cosine(step: int, total: int, warmup_share: float) -> float:
    """Return the factor on the peak learning rate at `step` of `total`.

    Rises linearly over the first `warmup_share` of the steps, then falls along half a cosine
    (Loshchilov and Hutter 2017, arXiv:1608.03983) to nearly zero at the last.
    """
    return warm_restarts(step, total, warmup_share, cycles=1)


def warm_restarts(step: int, total: int, warmup_share: float, cycles: int) -> float:
    """Return the factor of `cycles` equal half cosines behind one warm-up (arXiv:1608.03983).

    Each cycle jumps back to the peak and falls to nearly zero.
    """
    warmup = round(total * warmup_share)
    if step < warmup:
        return (step + 1) / warmup
    length = max(total - warmup, 1)
    position = (step - warmup) * cycles % length
    return 0.5 * (1 + math.cos(math.pi * position / length))


def cycle_ends(total: int, warmup_share: float, cycles: int) -> list[int]:
    """Return the last step, counted from 0, of each cycle of `warm_restarts`.

    The last cycle's is the last of all; behind each of the others the rate jumps to its peak.
    """
    warmup = round(total * warmup_share)
    length = max(total - warmup, 1)
    lengths = [-(-length * cycle // cycles) for cycle in range(1, cycles + 1)]  # rounded up
    return [min(warmup + steps, total) - 1 for steps in lengths]


def warmup_constant(step: int, total: int, warmup_share: float) -> float:
    """Return the factor of a linear warm-up that stays at the peak."""
    warmup = round(total * warmup_share)
    return (step + 1) / warmup if step < warmup else 1.0


def one_cycle(step: int, total: int, rising_share: float) -> float:
    """Return the factor of the one-cycle policy (Smith and Topin 2018, arXiv:1708.07120).

    Rises along half a cosine from 1/25 to 1 over `rising_share` of the steps and falls along
    another to 1/250,000 at the last. Momentum stays as it is.
    """
    top = rising_share * total - 1
    if step < top:
        return _along_cosine(ONE_CYCLE_START, 1.0, step / top)
    return _along_cosine(1.0, ONE_CYCLE_END, (step - top) / (total - 1 - top))


def windowed_scores(scores: Sequence[float], window: int) -> list[float]:
    """Return the mean of every `window` scores in a row; the first ends at score number `window`.

    A mean of fewer would compete as an equal, and is the more a matter of luck.
    """
    ends = range(window, len(scores) + 1)
    return [float(np.mean(scores[end - window : end])) for end in ends]


def plateau_factor(scores: Sequence[float], patience: int, factor: float) -> float:
    """Return `factor` to the power of how often the validation score stalled so far.

    It stalls when more than `patience` epochs in a row are not better than the best before
    them; the count then starts anew.

    Args:
        scores: of the epochs so far, higher is better.
    """
    best, stalled, reductions = -math.inf, 0, 0
    for score in scores:
        stalled = 0 if score > best else stalled + 1
        best = max(best, score)
        if stalled > patience:
            reductions, stalled = reductions + 1, 0
    return factor**reductions


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

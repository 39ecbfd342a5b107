"""Learning rate over training."""

import math


def warmup_cosine(step: int, total: int, warmup_share: float) -> float:
    """Return the factor on the peak learning rate at `step` of `total`.

    Rises linearly over the first `warmup_share` of the steps, then falls along half a cosine
    (Loshchilov and Hutter 2017, arXiv:1608.03983) to nearly zero at the last.
    """
    warmup = round(total * warmup_share)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))

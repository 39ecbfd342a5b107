"""Loss weights that change over training, as a function of its share alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LossPhase:
    """Weights that hold from a share of training on; one entry of `loss.schedule`.

    Attributes:
        share: of training, in (0, 1]: 1 is the last epoch.
        change: `step` holds the weights before it up to the phase's begin; `linear` shifts
            them from the begin of the phase before (or of training) to this one's.
        weights: new values by name; weights not named stay.
    """

    share: float
    change: str
    weights: Mapping[str, float]


def weights_at(
    weights: Mapping[str, float], phases: Sequence[LossPhase], share: float
) -> dict[str, float]:
    """Return the weights at a share of training.

    Args:
        weights: those training begins with.
        phases: by rising share.
        share: 0 in the first epoch, 1 in the last.
    """
    current, begin = dict(weights), 0.0
    for phase in phases:
        if share < phase.share:
            if phase.change == "linear":
                done = (share - begin) / (phase.share - begin)
                current |= {
                    name: (1 - done) * current[name] + done * target
                    for name, target in phase.weights.items()
                }
            break
        current |= phase.weights
        begin = phase.share
    return current

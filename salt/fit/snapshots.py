"""Snapshots: one run's networks at the ends of its cycles (Huang et al. 2017, arXiv:1704.00109).

A learning rate that falls to nothing lets the network settle; one that jumps back drives it
elsewhere. What it was each time costs no further training and errs in its own way.
"""

from collections.abc import Mapping

import torch

from salt.errors import TrainingError
from salt.fit.checkpoint import unprefixed
from salt.fit.schedule import cycle_ends


class Snapshots:
    """Copies of the weights at the ends of a run's last `count` cycles but the very last.

    They are of a cycle's last step, which may lie within an epoch: at the epoch's end the next
    cycle's high rate would already have moved the network. The last cycle ends with the run,
    whose result is the last of the `count` networks.

    Attributes:
        steps: of the optimiser, from 0, behind which the weights are kept.
        states: the weights kept so far, in that order, on the CPU.

    Raises:
        TrainingError: a cycle has no step of its own.
    """

    def __init__(self, count: int, total: int, warmup_share: float, cycles: int) -> None:
        ends = cycle_ends(total, warmup_share, cycles)[cycles - count :]
        if len(set(ends)) < len(ends):
            raise TrainingError(
                f"train.snapshots is {count}, but {total} steps are too few for {cycles} cycles; "
                "expected a step for each behind the warm-up. Train longer, or lower train.cycles."
            )
        self.steps = ends[:-1]
        self.states: list[dict[str, torch.Tensor]] = []

    def keep(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy the weights of one more cycle's end."""
        self.states.append({name: value.to("cpu", copy=True) for name, value in state.items()})

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all that is kept as `PLACE.NAME`, for the resume state."""
        return {
            f"{place}.{name}": value
            for place, state in enumerate(self.states)
            for name, value in state.items()
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Undo `tensors`."""
        count = len({key.partition(".")[0] for key in tensors})
        self.states = [unprefixed(f"{place}.", dict(tensors)) for place in range(count)]

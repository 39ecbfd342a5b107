"""The decision rule: what turns a tile's probabilities into a mask.

A pixel is salt where probability >= threshold. Components of fewer than `minimum_component`
pixels are removed, then holes of up to `fill_holes` pixels filled. The whole mask becomes
empty if it has fewer than `minimum_size` pixels then, or if the tile's presence probability
is below `presence_gate`: everything below its bound is dropped. A tile without a presence
probability (NaN) passes every gate.

Probabilities are float16 as stored, and compared by their bit patterns: for numbers that
are not negative those order like the numbers. (NumPy would round a Python float to
float16 before comparing, and so move the threshold.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from salt.errors import StoreError
from salt.infer.shapes import clean_masks

HIGHEST_BITS = int(np.float16(1).view(np.uint16))  # of a probability


@dataclass(frozen=True)
class Rule:
    """A decision rule: probability in (0, 1), pixels, and presence probability in [0, 1]."""

    threshold: float
    minimum_size: int
    presence_gate: float
    minimum_component: int = 0
    fill_holes: int = 0


DEFAULT_RULE = Rule(threshold=0.5, minimum_size=0, presence_gate=0.0)


@dataclass(frozen=True)
class Grid:
    """The rules to choose from, each axis ascending.

    Attributes:
        thresholds: float64 [T], in (0, 1).
        minimum_sizes: int64 [S], pixels.
        presence_gates: float64 [G], in [0, 1].
        minimum_components, fill_holes: int64 [C], [F], pixels.
    """

    thresholds: np.ndarray
    minimum_sizes: np.ndarray
    presence_gates: np.ndarray
    minimum_components: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    fill_holes: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def spanning(
        cls,
        candidates: int,
        minimum_sizes: Sequence[int],
        presence_gates: Sequence[float],
        minimum_components: Sequence[int] = (0,),
        fill_holes: Sequence[int] = (0,),
    ) -> "Grid":
        """Space `candidates` thresholds evenly in the open interval (0, 1)."""
        return cls(
            np.arange(1, candidates + 1) / (candidates + 1),
            np.unique(np.asarray(minimum_sizes, np.int64)),
            np.unique(np.asarray(presence_gates, np.float64)),
            np.unique(np.asarray(minimum_components, np.int64)),
            np.unique(np.asarray(fill_holes, np.int64)),
        )


def apply_rule(probability: np.ndarray, presence: np.ndarray, rule: Rule) -> np.ndarray:
    """Return masks uint8 {0, 1} [n, H, W] of float16 probabilities [n, H, W].

    `presence` is [n], NaN where there is no presence head.

    Raises:
        StoreError: probabilities are not float16 in [0, 1].
    """
    masks = probability_bits(probability) >= cutoff_bits(np.array([rule.threshold]))[0]
    masks = clean_masks(masks, rule.minimum_component, rule.fill_holes)
    areas = np.count_nonzero(masks, axis=(1, 2))
    masks &= keeps_mask(areas, np.asarray(presence, np.float64), rule)[:, None, None]
    return masks.view(np.uint8)


def keeps_mask(areas: np.ndarray, presence: np.ndarray, rule: Rule) -> np.ndarray:
    """Tell which tiles keep their mask; NaN is not below any gate."""
    return (areas >= rule.minimum_size) & ~(presence < rule.presence_gate)


def probability_bits(probability: np.ndarray) -> np.ndarray:
    """Return the bit patterns of float16 probabilities, uint16 in the order of the numbers.

    Raises:
        StoreError: they are not float16 in [0, 1].
    """
    if probability.dtype != np.float16:
        raise StoreError(
            f"probabilities of type {probability.dtype}; expected float16, as they are stored. "
            "Pass the stored array."
        )
    bits = np.ascontiguousarray(probability).view(np.uint16)
    if bits.size and bits.max() > HIGHEST_BITS:  # so are the patterns of negatives and NaN
        raise StoreError(
            f"a probability of {probability.ravel()[bits.argmax()]}; expected 0 to 1. "
            "Rerun the stage that made it."
        )
    return bits


def cutoff_bits(thresholds: np.ndarray) -> np.ndarray:
    """Return the bit pattern of the lowest float16 that reaches each threshold, uint16 [T]."""
    rounded = thresholds.astype(np.float16)
    too_low = rounded.astype(np.float64) < thresholds
    return np.where(too_low, np.nextafter(rounded, np.float16(2)), rounded).view(np.uint16)

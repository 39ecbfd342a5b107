"""The decision rule: what turns a tile's probabilities into a mask.

A pixel is salt where probability >= threshold. The whole mask becomes empty if it has
fewer than `minimum_size` pixels, or if the tile's presence probability is below
`presence_gate`: everything below its bound is dropped. A tile without a presence
probability (NaN) passes every gate.

Probabilities are float16 as stored, and compared by their bit patterns: for numbers that
are not negative those order like the numbers. (NumPy would round a Python float to
float16 before comparing, and so move the threshold.)
"""

from dataclasses import dataclass

import numpy as np

from salt.errors import StoreError

HIGHEST_BITS = int(np.float16(1).view(np.uint16))  # of a probability


@dataclass(frozen=True)
class Rule:
    """A decision rule: probability in (0, 1), pixels, and presence probability in [0, 1]."""

    threshold: float
    minimum_size: int
    presence_gate: float


DEFAULT_RULE = Rule(threshold=0.5, minimum_size=0, presence_gate=0.0)


@dataclass(frozen=True)
class Grid:
    """The rules to choose from, each axis ascending.

    Attributes:
        thresholds: float64 [T], in (0, 1).
        minimum_sizes: int64 [S], pixels.
        presence_gates: float64 [G], in [0, 1].
    """

    thresholds: np.ndarray
    minimum_sizes: np.ndarray
    presence_gates: np.ndarray

    @classmethod
    def spanning(
        cls, candidates: int, minimum_sizes: list[int], presence_gates: list[float]
    ) -> "Grid":
        """Space `candidates` thresholds evenly in the open interval (0, 1)."""
        return cls(
            np.arange(1, candidates + 1) / (candidates + 1),
            np.unique(np.asarray(minimum_sizes, np.int64)),
            np.unique(np.asarray(presence_gates, np.float64)),
        )


def apply_rule(probability: np.ndarray, presence: np.ndarray, rule: Rule) -> np.ndarray:
    """Return masks uint8 {0, 1} [n, H, W] of float16 probabilities [n, H, W].

    `presence` is [n], NaN where there is no presence head.

    Raises:
        StoreError: probabilities are not float16 in [0, 1].
    """
    masks = probability_bits(probability) >= cutoff_bits(np.array([rule.threshold]))[0]
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

"""What every probability threshold would do to every tile, exactly and in one pass.

One histogram of a tile's probabilities, split by truth, gives intersection, union and
area at every threshold. Minimum sizes and presence gates need no more: they only switch
between that tile's score and the score of an empty mask.
"""

from dataclasses import dataclass

import numpy as np

from salt.errors import StoreError
from salt.infer.rule import HIGHEST_BITS, Grid, Rule, cutoff_bits, keeps_mask, probability_bits
from salt.metrics import FULL_TENTHS, score_in_tenths

_TILES_AT_ONCE = 32  # keeps the histogram codes inside the cache


@dataclass(frozen=True)
class Evidence:
    """What every threshold of a grid would do to every tile.

    Attributes:
        grid: the rules in question.
        tenths: int64 [n, T], ten times the score of the thresholded mask.
        areas: int64 [n, T], pixels of the thresholded mask, ignored ones included.
        empty_tenths: int64 [n], ten times the score of an empty mask.
        presence: float64 [n], NaN where unknown.
    """

    grid: Grid
    tenths: np.ndarray
    areas: np.ndarray
    empty_tenths: np.ndarray
    presence: np.ndarray

    def scores(self, rule: Rule) -> np.ndarray:
        """Return the score of each tile, float64 [n], under a rule of the grid."""
        column = np.flatnonzero(self.grid.thresholds == rule.threshold)[0]
        kept = keeps_mask(self.areas[:, column], self.presence, rule)
        return np.where(kept, self.tenths[:, column], self.empty_tenths) / FULL_TENTHS


def gather_evidence(
    probability: np.ndarray,
    presence: np.ndarray,
    truths: np.ndarray,
    ignore: np.ndarray | None,
    grid: Grid,
) -> Evidence:
    """Score every threshold on every tile in one pass over the pixels.

    Args:
        probability: float16 [n, H, W]; may be memory-mapped.
        presence: [n], NaN where unknown.
        truths: {0, 1} [n, H, W].
        ignore: {0, 1} [n, H, W], 1 where a pixel does not count; or None.
        grid: the rules to be judged.

    Raises:
        StoreError: the arrays differ in shape, or probabilities are not float16 in [0, 1].
    """
    _require_same_tiles(probability, presence, truths, ignore)
    bins = len(grid.thresholds) + 1
    level_of = np.searchsorted(
        cutoff_bits(grid.thresholds), np.arange(HIGHEST_BITS + 1), side="right"
    )
    tenths, areas = np.empty((2, len(probability), bins - 1), np.int64)
    empty_tenths = np.empty(len(probability), np.int64)
    for start in range(0, len(probability), _TILES_AT_ONCE):
        part = slice(start, start + _TILES_AT_ONCE)
        kinds = np.asarray(truths[part], np.uint8)  # 0 background, 1 salt, 2 ignored
        if ignore is not None:
            kinds = np.where(ignore[part], np.uint8(2), kinds)
        counts = _pixels_reaching(level_of[probability_bits(probability[part])], kinds, bins)
        background, salt, ignored = counts.transpose(1, 0, 2)  # [tiles, T] each
        true = np.count_nonzero(kinds == 1, axis=(1, 2))
        tenths[part] = score_in_tenths(salt, true[:, None] + background)
        areas[part] = background + salt + ignored
        empty_tenths[part] = score_in_tenths(np.zeros_like(true), true)
    return Evidence(grid, tenths, areas, empty_tenths, np.asarray(presence, np.float64))


def _pixels_reaching(levels: np.ndarray, kinds: np.ndarray, bins: int) -> np.ndarray:
    """Count the pixels of each tile and kind that reach each threshold: [n, 3, bins - 1].

    `levels` [n, H, W] says how many of the ascending thresholds a pixel reaches, so a
    histogram over it, summed from the top, counts for every threshold at once.
    """
    tiles = np.arange(len(levels))[:, None, None]
    codes = (tiles * 3 + kinds) * bins + levels
    histogram = np.bincount(codes.ravel(), minlength=len(levels) * 3 * bins)
    reaching = histogram.reshape(-1, 3, bins)[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    return reaching[:, :, 1:]


def _require_same_tiles(
    probability: np.ndarray, presence: np.ndarray, truths: np.ndarray, ignore: np.ndarray | None
) -> None:
    masks = [truths] if ignore is None else [truths, ignore]
    if any(mask.shape != probability.shape for mask in masks) or len(presence) != len(probability):
        raise StoreError(
            f"probabilities {probability.shape}, masks {[mask.shape for mask in masks]} and "
            f"{len(presence)} presences do not belong together; expected the same tiles in all. "
            "Rerun the ensemble stage."
        )

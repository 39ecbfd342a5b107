"""What every probability threshold would do to every tile, exactly and in one pass.

One histogram of a tile's probabilities, split by truth, gives intersection, union and
area at every threshold. Minimum sizes and presence gates need no more: they only switch
between that tile's score and the score of an empty mask. Small components and holes change
the histogram itself; `salt.infer.zones` cleans them out of all thresholds at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from salt.errors import StoreError
from salt.infer.rule import HIGHEST_BITS, Grid, Rule, cutoff_bits, keeps_mask, probability_bits
from salt.infer.zones import clean_zones, find_zones
from salt.metrics import FULL_TENTHS, score_in_tenths

_TILES_AT_ONCE = 32  # keeps the histogram codes inside the cache


@dataclass(frozen=True)
class Evidence:
    """What every threshold of a grid would do to every tile.

    Attributes:
        grid: the rules in question.
        tenths: int16 [C, F, n, T], ten times the score of the thresholded, cleaned mask.
        areas: int32 [C, F, n, T], pixels of that mask, ignored ones included.
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
        size = np.flatnonzero(self.grid.minimum_components == rule.minimum_component)[0]
        holes = np.flatnonzero(self.grid.fill_holes == rule.fill_holes)[0]
        column = np.flatnonzero(self.grid.thresholds == rule.threshold)[0]
        kept = keeps_mask(self.areas[size, holes, :, column], self.presence, rule)
        tenths = self.tenths[size, holes, :, column]
        return np.where(kept, tenths, self.empty_tenths) / FULL_TENTHS


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
    level_of = _levels_of_bits(grid.thresholds)
    shape = (len(grid.minimum_components), len(grid.fill_holes), len(probability))
    tenths = np.empty((*shape, len(grid.thresholds)), np.int16)
    areas = np.empty(tenths.shape, np.int32)
    empty_tenths = np.empty(len(probability), np.int64)
    for start in range(0, len(probability), _TILES_AT_ONCE):
        part = np.s_[start : start + _TILES_AT_ONCE]
        kinds = np.asarray(truths[part], np.uint8)  # 0 background, 1 salt, 2 ignored
        if ignore is not None:
            kinds = np.where(ignore[part], np.uint8(2), kinds)
        levels = np.take(level_of, probability_bits(probability[part]))
        true = np.count_nonzero(kinds == 1, axis=(1, 2))
        for place, counts in _count_pixels(levels, kinds, grid):
            background, salt, ignored = counts.transpose(1, 0, 2)  # [n, T] each
            tenths[*place, part] = score_in_tenths(salt, true[:, None] + background)
            areas[*place, part] = background + salt + ignored
        empty_tenths[part] = score_in_tenths(np.zeros_like(true), true)
    return Evidence(grid, tenths, areas, empty_tenths, np.asarray(presence, np.float64))


def _levels_of_bits(thresholds: np.ndarray) -> np.ndarray:
    """Return for each bit pattern of a probability how many ascending thresholds it reaches."""
    patterns = np.arange(HIGHEST_BITS + 1)
    levels = np.searchsorted(cutoff_bits(thresholds), patterns, side="right")
    return levels.astype(np.min_scalar_type(len(thresholds)))


def _count_pixels(
    levels: np.ndarray, kinds: np.ndarray, grid: Grid
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yield (smallest component's index, holes' index) and what reaches each threshold then.

    Counts are of the pixels of each tile and kind, [n, 3, T]. `levels` [n, H, W] says how many
    of the ascending thresholds a pixel reaches, so a histogram over it, summed from the top,
    counts for every threshold at once.
    """
    tiles, bins = len(levels), len(grid.thresholds) + 1
    if not grid.minimum_components.any() and not grid.fill_holes.any():
        small = np.min_scalar_type(3 * bins)  # narrow integers are quick to add
        codes = (levels.astype(small) + kinds * small.type(bins)).astype(np.intp)
        codes += np.arange(0, tiles * 3 * bins, 3 * bins)[:, None, None]
        yield (0, 0), _sum_from_top(np.bincount(codes.ravel(), minlength=tiles * 3 * bins), bins)
        return
    zones = find_zones(levels)
    cleaned = clean_zones(zones, grid.minimum_components, grid.fill_holes)
    pixels = np.bincount((3 * zones.of_pixel + kinds).ravel(), minlength=3 * len(zones.levels))
    first = bins * (3 * zones.tile[:, None] + np.arange(3))  # [Z, 3]
    for place in np.ndindex(*cleaned.shape[:2]):
        codes = first + cleaned[place][:, None]
        counts = np.bincount(codes.ravel(), pixels, minlength=tiles * 3 * bins)
        yield place, _sum_from_top(counts.astype(np.int64), bins)


def _sum_from_top(histogram: np.ndarray, bins: int) -> np.ndarray:
    """Return [n, 3, bins - 1]: how many reach each level above 0, by tile and kind."""
    return histogram.reshape(-1, 3, bins)[:, :, ::-1].cumsum(axis=2)[:, :, -2::-1]


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

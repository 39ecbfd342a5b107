"""2x2 loops: four candidate seams that agree on one block of four tiles.

A - B
|   |
C - D
"""

import numpy as np

from salt.neighbours.candidates import Candidates

RANKS = 4  # candidates tried per edge
LEAST_LOG_ODDS = -12.0  # of each of the four seams
LOOP_LOG_ODDS = 12.0  # that four candidates meet by chance is about as unlikely
CONFIRMED_LOG_ODDS = 10.0  # a loop lifts its seams no higher


def confirm_loops(
    across: Candidates, down: Candidates, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds of both axes' candidates, lifted where they close a loop.

    A loop is as strong as its weakest seam: decoys (see `salt.neighbours.candidates`) close
    no loop whose weakest seam has log-odds above -6, and one in 3,000 above -8.
    """
    odds = [across.log_odds.copy(), down.log_odds.copy()]
    rights, right_seams = _ranked(across, count)
    belows, below_seams = _ranked(down, count)
    for right, below, below_right, right_below in np.ndindex(RANKS, RANKS, RANKS, RANKS):
        a = np.flatnonzero((rights[:, right] >= 0) & (belows[:, below] >= 0))
        b, c = rights[a, right], belows[a, below]
        d = belows[b, below_right]
        closes = (d >= 0) & (d == rights[c, right_below]) & (b != c) & (d != a)
        a, b, c = a[closes], b[closes], c[closes]
        horizontal = np.stack([right_seams[a, right], right_seams[c, right_below]])  # [2, loops]
        vertical = np.stack([below_seams[a, below], below_seams[b, below_right]])
        seams = (horizontal, vertical)
        log_odds = (across.log_odds[horizontal], down.log_odds[vertical])
        weakest = np.minimum(log_odds[0].min(axis=0), log_odds[1].min(axis=0))
        lifted = np.minimum(weakest + LOOP_LOG_ODDS, CONFIRMED_LOG_ODDS)
        for axis in (0, 1):
            np.maximum.at(odds[axis], seams[axis], np.broadcast_to(lifted, seams[axis].shape))
    return odds[0], odds[1]


def _ranked(candidates: Candidates, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each tile's best candidates [n, RANKS] (-1 where none) and their positions."""
    usable = np.flatnonzero(candidates.log_odds > LEAST_LOG_ODDS)
    order = usable[np.lexsort((-candidates.log_odds[usable], candidates.first[usable]))]
    first = candidates.first[order]
    rank = np.arange(len(order)) - np.searchsorted(first, first)
    order, first, rank = order[rank < RANKS], first[rank < RANKS], rank[rank < RANKS]
    tiles = np.full((count, RANKS), -1)
    seams = np.zeros((count, RANKS), np.int64)
    tiles[first, rank] = candidates.second[order]
    seams[first, rank] = order
    return tiles, seams

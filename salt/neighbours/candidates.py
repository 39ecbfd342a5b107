"""Which tiles may lie beside which: the best matches of every edge, with their odds.

The log-odds of a pair come from its score and from how far it stands out from the best
rival at either edge. Their weights are a logistic regression between seams of TGS that
close a 2x2 loop and decoys: the same edges matched against edges of reversed polarity,
which look alike but never truly continue one another.
"""

import math
from dataclasses import dataclass

import numpy as np

from salt.neighbours.edges import TRUE_SCORE, Edges, to_score

RANKS = 10  # best matches kept per edge
SCORE_WEIGHT, MARGIN_WEIGHT, INTERCEPT = 2.0, 7.5, -4.5
CLOSING_SLOPE = 10.0  # log-odds of a score of TRUE_SCORE, if they were not bounded
CLOSING_RANGE = (-6.0, 4.0)  # one seam neither forbids nor proves a position alone
SURE_LOG_ODDS = 4.0
USUAL_SHARE = 0.12  # of TGS tiles have a candidate of that log-odds on a given side
RANDOM_PAIRS = 5000
BLOCK = 1024  # rows of the score matrix held at once
CHUNKS = 16  # columns of one chunk, of which only the best chunks are searched


@dataclass(frozen=True)
class Candidates:
    """Pairs of one axis that may be neighbours, sorted by first tile, then by second.

    Attributes:
        first, second: int64 [p]; second lies right of (or below) first.
        log_odds: float64 [p].
        edges: the axis's edges, to score any other pair.
        random_score: median score of pairs that do not belong together.
        lucky_score: the score that one such pair in a hundred exceeds.
    """

    first: np.ndarray
    second: np.ndarray
    log_odds: np.ndarray
    edges: Edges
    random_score: float
    lucky_score: float

    def closing_evidence(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return log-odds of each pair meeting at a seam against a random pair, [p].

        For seams that come about by joining other edges: nobody searched for the best of n
        here, so no margin is asked for. Flat edges tell nothing: 0.
        """
        zero = max((TRUE_SCORE + self.random_score) / 2, self.lucky_score)
        slope = CLOSING_SLOPE / max(TRUE_SCORE - zero, 0.1)
        evidence = slope * (self.edges.scores(first, second) - zero)
        return np.clip(np.nan_to_num(evidence), *CLOSING_RANGE)


def find_candidates(edges: Edges, rng: np.random.Generator) -> Candidates:
    """Return the best matches of every trailing and every leading edge.

    Time grows with n^2 (one blocked matrix product each way), memory with n. In a small set
    even random edges stand out, so that each is granted a rival as good as a large set's.
    `rng` picks the random pairs that tell the score of edges without connection.
    """
    random_score, lucky_score = _random_scores(edges, rng)
    rival = max((TRUE_SCORE + random_score) / 2, lucky_score)
    trailing, leading = _with_flat_edges_last(edges)
    second_of, forward = best_matches(trailing, leading, RANKS + 1)
    first_of, backward = best_matches(leading, trailing, RANKS + 1)
    first, second = _merge_directions(second_of, first_of)
    known = edges.trailing_matches[first] & edges.leading_matches[second]
    first, second = first[known], second[known]
    scores = edges.scores(first, second)
    forward_rival = np.maximum(_best_rival(second_of, forward, first, second), rival)
    backward_rival = np.maximum(_best_rival(first_of, backward, second, first), rival)
    margins = 2 * scores - forward_rival - backward_rival
    log_odds = SCORE_WEIGHT * scores + MARGIN_WEIGHT * margins + INTERCEPT
    log_odds += _rarity(log_odds, len(second_of))
    return Candidates(first, second, log_odds, edges, random_score, lucky_score)


def best_matches(rows: np.ndarray, columns: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Return the `count` largest of each row of `rows @ columns.T` off its diagonal.

    Returns indices int64 and values float32, both [n, min(count, n - 1)], best first. The
    columns are dealt into chunks; the k best values lie in the k chunks with the best peaks,
    so only those are sorted, which is several times faster than a partition of the row.
    """
    total = len(rows)
    count = min(count, total - 1)
    width = -(-total // CHUNKS)
    padded = np.zeros((width * CHUNKS, columns.shape[1]), np.float32)
    padded[:total] = columns
    indices = np.empty((total, count), np.int64)
    values = np.empty((total, count), np.float32)
    for start in range(0, total, BLOCK):
        block = rows[start : start + BLOCK] @ padded.T  # [b, width * CHUNKS]
        block[:, total:] = -np.inf
        own = np.arange(len(block))
        block[own, start + own] = -np.inf
        here = slice(start, start + len(block))
        indices[here], values[here] = _largest(block, count, width)
    return indices, values


def _largest(block: np.ndarray, count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    peaks = block.reshape(len(block), CHUNKS, width).max(axis=1)
    best = max(1, min(count, width))
    chunks = np.argpartition(peaks, width - best, axis=1)[:, width - best :]
    members = np.sort((chunks[:, :, None] + width * np.arange(CHUNKS)).reshape(len(block), -1))
    values = np.take_along_axis(block, members, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]  # ties: lower index first
    return np.take_along_axis(members, order, axis=1), np.take_along_axis(values, order, axis=1)


def _with_flat_edges_last(edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    """Append coordinates that make every pair with a flat edge the worst there is."""
    worst = np.float32(1e4)
    ones = np.ones(len(edges.trailing), np.float32)
    trailing_penalty = np.where(edges.trailing_matches, 0, -worst).astype(np.float32)
    leading_penalty = np.where(edges.leading_matches, 0, -worst).astype(np.float32)
    trailing = np.column_stack([edges.trailing, trailing_penalty, ones])
    leading = np.column_stack([edges.leading, ones, leading_penalty])
    return trailing, leading


def _merge_directions(second_of: np.ndarray, first_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs among the best matches either way, sorted."""
    total, ranks = second_of.shape
    ranks = min(ranks, RANKS)
    own = np.repeat(np.arange(total), ranks)
    forward = own * total + second_of[:, :ranks].ravel()
    backward = first_of[:, :ranks].ravel() * total + own
    pairs = np.unique(np.concatenate([forward, backward]))
    return pairs // total, pairs % total


def _best_rival(
    matches: np.ndarray, values: np.ndarray, own: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Return the best score that each pair's `own` edge reaches with another tile, [p]."""
    if matches.shape[1] < 2:
        return np.full(len(own), -np.inf)
    return to_score(-np.where(matches[own, 0] == other, values[own, 1], values[own, 0]))


def _rarity(log_odds: np.ndarray, count: int) -> float:
    """Return what the log-odds lose because fewer of `count` tiles than in TGS have neighbours."""
    share = ((log_odds > SURE_LOG_ODDS).sum() + 0.5) / (count + 1)
    return min(0.0, math.log(share / USUAL_SHARE))


def _random_scores(edges: Edges, rng: np.random.Generator) -> tuple[float, float]:
    """Return the median and the 99th percentile of the scores of random pairs.

    Of reversed polarity, because in a small set some random pairs do belong together.
    """
    first, second = rng.integers(len(edges.trailing), size=(2, RANDOM_PAIRS))
    scores = edges.reversed_polarity().scores(first, second)
    if not np.isfinite(scores).any():
        return TRUE_SCORE, TRUE_SCORE
    return float(np.nanmedian(scores)), float(np.nanpercentile(scores, 99))

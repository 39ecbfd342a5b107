"""2x2 loops of candidate seams."""

import numpy as np

from salt.neighbours.candidates import Candidates
from salt.neighbours.edges import Edges
from salt.neighbours.loops import confirm_loops

A, B, C, D, E = range(5)


def _candidates(pairs: dict[tuple[int, int], float]) -> Candidates:
    first, second = np.array(sorted(pairs)).T
    log_odds = np.array([pairs[pair] for pair in sorted(pairs)])
    nothing = np.zeros((5, 1), np.float32)
    edges = Edges(nothing, nothing, np.ones(5, bool), np.ones(5, bool))
    return Candidates(first, second, log_odds, edges, random_score=-2.0, lucky_score=-1.5)


def test_a_closed_loop_lifts_its_seams_by_its_weakest() -> None:
    across = _candidates({(A, B): 3.0, (C, D): -5.0})
    down = _candidates({(A, C): 9.5, (B, D): 1.0})
    lifted_across, lifted_down = confirm_loops(across, down, 5)
    assert lifted_across.tolist() == [7.0, 7.0]  # -5 + 12
    assert lifted_down.tolist() == [9.5, 7.0]


def test_a_strong_loop_lifts_no_higher_than_ten() -> None:
    across = _candidates({(A, B): 3.0, (C, D): 2.0})
    down = _candidates({(A, C): 15.0, (B, D): 1.0})
    lifted_across, lifted_down = confirm_loops(across, down, 5)
    assert lifted_across.tolist() == [10.0, 10.0]
    assert lifted_down.tolist() == [15.0, 10.0]


def test_an_open_loop_lifts_nothing() -> None:
    across = _candidates({(A, B): 3.0, (C, E): 2.0})
    down = _candidates({(A, C): 4.0, (B, D): 1.0})
    lifted_across, lifted_down = confirm_loops(across, down, 5)
    assert lifted_across.tolist() == [3.0, 2.0]
    assert lifted_down.tolist() == [4.0, 1.0]


def test_candidates_are_not_changed() -> None:
    across = _candidates({(A, B): 3.0, (C, D): 2.0})
    confirm_loops(across, _candidates({(A, C): 4.0, (B, D): 1.0}), 5)
    assert across.log_odds.tolist() == [3.0, 2.0]

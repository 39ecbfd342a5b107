"""Best matches and the odds of pairs."""

import numpy as np
import pytest
from pictures import draw_puzzle

from salt.neighbours.candidates import best_matches, find_candidates
from salt.neighbours.edges import measure_edges


@pytest.mark.parametrize("count", [2, 3, 17, 100, 1500])
def test_best_matches_are_those_of_the_whole_matrix(count: int) -> None:
    draw = np.random.default_rng(count)
    rows, columns = draw.normal(size=(2, count, 4)).astype(np.float32)
    indices, values = best_matches(rows, columns, 5)
    matrix = rows @ columns.T
    np.fill_diagonal(matrix, -np.inf)
    expected = np.argsort(-matrix, axis=1)[:, : min(5, count - 1)]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(values, np.take_along_axis(matrix, expected, axis=1), rtol=1e-5)


def test_one_tile_has_no_match() -> None:
    indices, values = best_matches(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), 5)
    assert indices.shape == values.shape == (1, 0)


def test_true_pairs_have_odds_above_one_and_random_pairs_far_below() -> None:
    images, places = draw_puzzle(20)
    found = find_candidates(
        measure_edges(images, np.random.default_rng(0)), np.random.default_rng(1)
    )
    true = (places[found.first] + [0, 1, 0] == places[found.second]).all(axis=1)
    assert true.sum() == 2 * 6 * 7
    assert np.percentile(found.log_odds[true], 10) > 2
    assert np.percentile(found.log_odds[~true], 99) < 0


def test_a_pair_that_closes_a_gap_needs_no_margin_but_must_fit() -> None:
    images, places = draw_puzzle(21)
    found = find_candidates(
        measure_edges(images, np.random.default_rng(0)), np.random.default_rng(1)
    )
    true = (places[found.first] + [0, 1, 0] == places[found.second]).all(axis=1)
    first, second = found.first[true], found.second[true]
    assert np.median(found.closing_evidence(first, second)) == 4.0
    assert np.median(found.closing_evidence(first, np.roll(second, 1))) == -6.0


def test_a_flat_edge_neither_speaks_for_a_place_nor_against_it() -> None:
    images, _ = draw_puzzle(22)
    images[0, :, -1] = 7
    found = find_candidates(
        measure_edges(images, np.random.default_rng(0)), np.random.default_rng(1)
    )
    assert 0 not in found.first
    assert found.closing_evidence(np.array([0]), np.array([1])).tolist() == [0.0]


def test_a_set_without_neighbours_makes_single_finds_doubtful() -> None:
    images, _ = draw_puzzle(23, sections=1)
    edges = measure_edges(images, np.random.default_rng(0))
    honest = find_candidates(edges, np.random.default_rng(1))
    decoys = find_candidates(edges.reversed_polarity(), np.random.default_rng(1))
    assert (honest.log_odds > 2).sum() >= 6 * 7
    assert (decoys.log_odds > 2).sum() == 0

"""Scores of pairs of edges."""

import numpy as np
from pictures import cut, draw_section, gained

from salt.neighbours.edges import measure_edges

ROWS, COLUMNS = 6, 8


def _tiles() -> np.ndarray:
    draw = np.random.default_rng(0)
    tiles, _ = cut(draw_section(draw, ROWS * 40, COLUMNS * 32), (40, 32))
    return gained(tiles, draw)


def test_the_true_right_neighbour_scores_best() -> None:
    edges = measure_edges(_tiles(), np.random.default_rng(1))
    first = np.array([row * COLUMNS + c for row in range(ROWS) for c in range(COLUMNS - 1)])
    everyone = np.arange(ROWS * COLUMNS)
    for tile in first:
        others = everyone[everyone != tile]
        scores = edges.scores(np.full(len(others), tile), others)
        assert others[scores.argmax()] == tile + 1


def test_a_gain_of_one_tile_hardly_changes_its_scores() -> None:
    tiles = _tiles()
    gained_tiles = tiles.copy()
    gained_tiles[3] = (tiles[3] * 0.6 + 40).astype(np.uint8)
    pairs = np.array([3]), np.array([4])
    plain = measure_edges(tiles, np.random.default_rng(1)).scores(*pairs)
    changed = measure_edges(gained_tiles, np.random.default_rng(1)).scores(*pairs)
    np.testing.assert_allclose(changed, plain, atol=0.05)


def test_a_flat_edge_has_no_score() -> None:
    tiles = _tiles()
    tiles[5, :, -1] = 80
    edges = measure_edges(tiles, np.random.default_rng(1))
    assert not edges.trailing_matches[5]
    assert edges.leading_matches[5]
    assert np.isnan(edges.scores(np.array([5]), np.array([6]))).all()


def test_noise_in_a_tile_is_expected_of_its_seams_too() -> None:
    draw = np.random.default_rng(2)
    tiles, places = cut(draw_section(draw, 6 * 40, 8 * 32), (40, 32))
    rough = places[:, 1] % 4 < 2  # two columns of tiles smooth, two rough
    tiles = tiles + np.where(rough, 0.3, 0.02)[:, None, None] * draw.normal(size=tiles.shape)
    edges = measure_edges(gained(tiles, draw), np.random.default_rng(1))
    both = np.flatnonzero(rough & (places[:, 1] % 4 == 0))
    neither = np.flatnonzero(~rough & (places[:, 1] % 4 == 2))
    rough_score = np.median(edges.scores(both, both + 1))
    smooth_score = np.median(edges.scores(neither, neither + 1))
    assert abs(rough_score - smooth_score) < 0.6

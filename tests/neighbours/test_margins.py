"""Real neighbours in the margins of tiles."""

import numpy as np
import pytest
from pictures import cut, draw_section, gained

from salt.errors import StoreError
from salt.neighbours.margins import WidenedTiles, seam_maps, surrounding_tiles

SIZE, BEFORE, AFTER = 20, 5, 6
WIDE = BEFORE + SIZE + AFTER


def survey(rows: int = 3, columns: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture, its tiles without any gain, and what surrounds them."""
    picture = draw_section(np.random.default_rng(0), rows * SIZE, columns * SIZE)
    tiles, places = cut(picture, (SIZE, SIZE))
    return picture, tiles, surrounding_tiles(places[:, 0], places[:, 2], places[:, 1])


def widened(tiles: np.ndarray, around: np.ndarray) -> WidenedTiles:
    return WidenedTiles(tiles, around, (BEFORE, AFTER))


def all_of(tiles: WidenedTiles) -> np.ndarray:
    return tiles[np.arange(len(tiles))]


def alone(count: int) -> np.ndarray:
    around = np.full((count, 3, 3), -1)
    around[:, 1, 1] = np.arange(count)
    return around


def own(canvas: np.ndarray) -> np.ndarray:
    return canvas[..., BEFORE : BEFORE + SIZE, BEFORE : BEFORE + SIZE]


def test_surroundings_are_read_off_the_grid_of_each_mosaic() -> None:
    # mosaic 0 holds tiles 0 1 over 2 (below 1); tile 3 lies alone in mosaic 1
    around = surrounding_tiles(*np.array([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 1]]))
    assert around[0].tolist() == [[-1, -1, -1], [-1, 0, 1], [-1, -1, 2]]
    assert around[1].tolist() == [[-1, -1, -1], [0, 1, -1], [-1, 2, -1]]
    assert around[2].tolist() == [[0, 1, -1], [-1, 2, -1], [-1, -1, -1]]
    assert around[3].tolist() == alone(4)[3].tolist()


def test_two_tiles_in_one_cell_are_refused() -> None:
    with pytest.raises(StoreError, match="mosaic 4, row 1, column 0; expected one tile a cell"):
        surrounding_tiles(np.array([4, 3, 4]), np.array([1, 1, 1]), np.zeros(3, int))


@pytest.mark.parametrize("margins", [(0, 0), (5, 6), (0, 1), (19, 19)])
def test_a_tile_without_neighbours_is_reflected(margins: tuple[int, int]) -> None:
    tiles = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE), dtype=np.uint8)
    canvases = all_of(WidenedTiles(tiles, alone(2), margins))
    assert canvases.dtype == np.uint8
    np.testing.assert_array_equal(canvases, np.pad(tiles, ((0, 0), margins, margins), "reflect"))


@pytest.mark.parametrize("margins", [(0, 0), (5, 6), (1, 1), (19, 19)])
def test_the_middle_of_a_canvas_is_the_tile_itself(margins: tuple[int, int]) -> None:
    _, pictures, around = survey()
    tiles = gained(pictures, np.random.default_rng(2))
    canvases = all_of(WidenedTiles(tiles, around, margins))
    middle = slice(margins[0], margins[0] + SIZE)
    np.testing.assert_array_equal(canvases[:, middle, middle], tiles)


def test_a_line_along_the_seam_gets_mean_and_deviation_of_the_tiles_own() -> None:
    tiles = np.zeros((2, 4, 4), np.uint8)
    tiles[0, :, -1] = [100, 120, 100, 120]  # mean 110, deviation 10
    tiles[1, :, 0] = [10, 50, 10, 50]  # mean 30, deviation 20
    around = surrounding_tiles(np.zeros(2, int), np.zeros(2, int), np.arange(2))
    gain, offset = seam_maps(tiles, around)
    assert (gain[0, 1, 2], offset[0, 1, 2]) == (0.5, 95)
    assert (gain[1, 1, 0], offset[1, 1, 0]) == (2, -190)
    canvas = WidenedTiles(tiles, around, (0, 1))[np.array([0])]
    assert canvas[0, :4, 4].tolist() == [100, 120, 100, 120]


def test_tiles_stretched_apart_are_brought_back_to_one_picture() -> None:
    # along each row the picture is constant, so the lines beside a seam agree but for the gain
    rows = np.random.default_rng(3).uniform(80, 160, SIZE)
    greys = [gain * (rows - 120) + shift for gain, shift in ((1, 120), (1.8, 100), (0.6, 150))]
    tiles = np.stack([np.tile(grey[:, None], SIZE) for grey in greys]).round()
    around = surrounding_tiles(np.zeros(3, int), np.zeros(3, int), np.arange(3))
    canvas = widened(tiles.astype(np.uint8), around)[np.array([1])][0, BEFORE : BEFORE + SIZE]
    assert (
        np.abs(canvas.astype(int) - tiles[1][:, :1]).max() <= 2
    )  # of rounding to whole grey levels


def test_flat_lines_are_shifted_and_not_stretched() -> None:
    tiles = np.full((3, 6, 6), 90, np.uint8)
    tiles[1] = 200
    tiles[2] = np.arange(6)[:, None] * 40  # varies along the seam, as tile 1 does not
    around = surrounding_tiles(np.zeros(3, int), np.zeros(3, int), np.arange(3))
    gain, offset = seam_maps(tiles, around)
    assert gain.tolist() == np.ones((3, 3, 3)).tolist()
    assert (offset[0, 1, 2], offset[1, 1, 2]) == (-110, 100)
    canvas = WidenedTiles(tiles, around, (2, 2))[np.array([0])][0]
    assert (canvas == 90).all()


def test_a_gain_is_held_within_limits() -> None:
    tiles = np.full((2, 4, 4), 128, np.uint8)
    tiles[0, ::2, -1], tiles[1, ::2, 0] = 28, 126  # deviations 50 and 1
    gain, _ = seam_maps(tiles, surrounding_tiles(*np.array([[0, 0], [0, 0], [0, 1]])))
    assert (gain[0, 1, 2], gain[1, 1, 0]) == (4, 0.25)


def test_real_margins_are_nearer_to_the_picture_than_reflected_ones() -> None:
    picture, pictures, around = survey()
    tiles = gained(pictures, np.random.default_rng(4))
    truth = picture[SIZE - BEFORE : 2 * SIZE + AFTER, SIZE - BEFORE : 2 * SIZE + AFTER]
    scale = np.polyfit(pictures[4].ravel(), tiles[4].ravel(), 1)
    errors = [
        np.abs(all_of(widened(tiles, near))[4] - np.polyval(scale, truth)).mean()
        for near in (around, alone(9))
    ]
    assert errors[0] < errors[1] / 3


def test_a_corner_is_matched_by_way_of_the_neighbours_beside_it() -> None:
    ramp = np.arange(4.0)[:, None] * 10 + np.arange(4.0) * 10 + 60
    grey = [(1, 0), (2, -40), (0.5, 20), (1.5, 10)]  # of upper left, upper right, lower left ...
    tiles = np.stack([gain * ramp + shift for gain, shift in grey]).astype(np.uint8)
    whole = surrounding_tiles(np.zeros(4, int), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    gain, _ = seam_maps(tiles, whole)
    np.testing.assert_allclose(gain[0, 2, 2], 1 / 1.5, rtol=0.05)
    for missing in ((2, 1), (1, 2)):  # one way is enough
        around = whole.copy()
        around[0, *missing] = -1
        np.testing.assert_allclose(seam_maps(tiles, around)[0][0, 2, 2], 1 / 1.5, rtol=0.05)


def test_a_corner_that_nothing_ties_to_the_tile_is_reflected() -> None:
    _, pictures, _ = survey(2, 2)
    tiles = gained(pictures, np.random.default_rng(5))[[0, 3]]
    around = surrounding_tiles(np.zeros(2, int), np.arange(2), np.arange(2))
    assert around[0, 2, 2] == 1
    np.testing.assert_array_equal(all_of(widened(tiles, around)), all_of(widened(tiles, alone(2))))


def test_an_empty_corner_continues_the_neighbour_above_it() -> None:
    _, pictures, _ = survey(2, 1)
    tiles = gained(pictures, np.random.default_rng(6))
    around = surrounding_tiles(np.zeros(2, int), np.arange(2), np.zeros(2, int))
    canvas = widened(tiles, around)[np.array([1])][0]
    np.testing.assert_array_equal(
        canvas[:BEFORE, :BEFORE], canvas[:BEFORE, BEFORE + 1 : 2 * BEFORE + 1][:, ::-1]
    )


def test_stacks_of_rows_give_stacks_of_canvases_as_each_row_alone() -> None:
    _, pictures, around = survey()
    tiles = widened(gained(pictures, np.random.default_rng(7)), around)
    rows = np.array([[4, 0, 8], [2, 4, 2]])
    canvases = tiles[rows]
    assert canvases.shape == (2, 3, WIDE, WIDE)
    for place in np.ndindex(rows.shape):
        np.testing.assert_array_equal(canvases[place], tiles[rows[place][None]][0])
    assert tiles[rows[:0]].shape == (0, 3, WIDE, WIDE)
    assert tiles.shape == (9, SIZE, SIZE)


def test_labelled_neighbours_give_labels_and_all_else_is_ignored() -> None:
    tiles = np.random.default_rng(8).integers(0, 256, (9, SIZE, SIZE), dtype=np.uint8)
    *_, around = survey()
    masks = np.stack([np.full((SIZE, SIZE), value, np.uint8) for value in (0, 1, 1)])
    ignore = np.zeros_like(masks)
    ignore[2, 0] = 1  # the first row of the tile on the right
    label_at = np.full(10, -1)
    label_at[[4, 3, 5]] = [0, 1, 2]  # middle, left and right have labels
    mask, unknown = widened(tiles, around).labels(masks, ignore, 4, label_at)
    middle = slice(BEFORE, BEFORE + SIZE)
    expected = np.ones((WIDE, WIDE), np.uint8)
    expected[middle] = 0
    expected[BEFORE, BEFORE + SIZE :] = 1
    np.testing.assert_array_equal(unknown, expected)
    assert not own(mask).any()
    assert mask[middle, :BEFORE].all() and mask[middle, BEFORE + SIZE :].all()


def test_without_labelled_neighbours_the_margin_is_ignored_and_the_mask_reflected() -> None:
    draw = np.random.default_rng(9)
    tiles, masks = draw.integers(0, 256, (9, SIZE, SIZE), np.uint8), np.eye(SIZE, dtype=np.uint8)
    label_at = np.full(10, -1)
    label_at[4] = 0
    *_, around = survey()
    mask, unknown = widened(tiles, around).labels(masks[None], 0 * masks[None], 4, label_at)
    np.testing.assert_array_equal(mask, np.pad(masks, (BEFORE, AFTER), "reflect"))
    assert not own(unknown).any()
    assert unknown.sum() == WIDE**2 - SIZE**2


def test_tiles_joined_behind_have_no_neighbours_and_change_none() -> None:
    _, pictures, around = survey()
    tiles = widened(gained(pictures, np.random.default_rng(10)), around)
    more = np.random.default_rng(11).integers(0, 256, (2, SIZE, SIZE), dtype=np.uint8)
    joined = tiles.joined(more)
    np.testing.assert_array_equal(joined[np.arange(9)], all_of(tiles))
    np.testing.assert_array_equal(joined[np.array([9, 10])], all_of(widened(more, alone(2))))

"""Blocks: repeatable, steered to a salt content, and alike from inline to inline."""

import numpy as np
import pytest

from salt.synthesis.block import Block, cut, draw_block


def small_block(seed: int = 7, **settings: float) -> Block:
    arguments = {"inlines": 2, "rows": 1, "columns": 2, "empty_tiles": 2, **settings}
    return draw_block(seed, **arguments)


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    first, again, other = small_block(), small_block(), small_block(8)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.masks.tobytes() == again.masks.tobytes()
    assert first.images.tobytes() != other.images.tobytes()


def test_a_block_has_the_shape_and_range_asked_for() -> None:
    block = small_block()
    assert block.images.shape == block.masks.shape == (2, 101, 202)
    assert block.images.dtype == block.masks.dtype == np.uint8
    assert set(np.unique(block.masks)) <= {0, 1}


@pytest.mark.parametrize("empty_tiles", [0, 2, 4])
def test_salt_is_steered_to_the_number_of_empty_tiles(empty_tiles: int) -> None:
    masks = cut(small_block(empty_tiles=empty_tiles).masks)
    assert abs(int((masks.max(axis=(-2, -1)) == 0).sum()) - empty_tiles) <= 1


def test_neighbouring_inlines_are_similar_but_not_identical() -> None:
    first, second = small_block().images.astype(float)
    assert 0.6 < np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.999


def test_cutting_keeps_neighbours_adjacent() -> None:
    sections = np.arange(202 * 303).reshape(1, 202, 303)
    tiles = cut(sections)
    assert tiles.shape == (1, 2, 3, 101, 101)
    assert np.array_equal(tiles[0, 1, 2], sections[0, 101:, 202:])


def test_parameters_say_what_was_drawn() -> None:
    parameters = small_block(seabed_chance=1.0).parameters
    assert parameters["seabed"] == 1 and 9 <= float(parameters["wavelength"]) <= 42

"""Small components and holes, on masks one by one and on all thresholds of a map at once."""

import numpy as np
import pytest
from skimage.morphology import remove_small_holes, remove_small_objects

from salt.infer.shapes import _opened, clean_levels, clean_masks

SIZES, HOLES = np.array([0, 1, 2, 5, 40]), np.array([0, 1, 4, 30])


def drawn(*rows: str) -> np.ndarray:
    """Return the mask [1, H, W] that `#` draws."""
    return np.array([[[letter == "#" for letter in row] for row in rows]])


def test_parts_below_the_size_go_and_those_at_it_stay() -> None:
    mask = drawn("##..#", "#....", "....#")
    assert clean_masks(mask, 2, 0).tolist() == drawn("##...", "#....", ".....").tolist()
    assert clean_masks(mask, 3, 0).any()
    assert not clean_masks(mask, 4, 0).any()


def test_corners_do_not_connect() -> None:
    assert not clean_masks(drawn("#.", ".#"), 2, 0).any()


def test_holes_up_to_the_size_are_filled_at_the_border_too() -> None:
    mask = drawn(".####", "#.###", "####.", "###..")
    assert clean_masks(mask, 0, 1).tolist() == drawn("#####", "#####", "####.", "###..").tolist()
    assert clean_masks(mask, 0, 3).all()


def test_parts_are_removed_before_holes_are_filled() -> None:
    mask = drawn("#####", "#...#", "#.#.#", "#...#", "#####")
    assert clean_masks(mask, 2, 8).sum() == 16  # the island is gone, the hole now has 9 pixels
    assert clean_masks(mask, 2, 9).all()
    assert clean_masks(mask, 0, 8).all()


def test_tiles_do_not_connect_to_each_other() -> None:
    masks = np.zeros((3, 2, 2), bool)
    masks[:, 0, 0] = True
    assert not clean_masks(masks, 2, 0).any()


def test_zero_leaves_a_mask_alone() -> None:
    masks = np.random.default_rng(0).random((4, 9, 9)) > 0.5
    assert (clean_masks(masks, 0, 0) == masks).all()


def maps(kind: str) -> np.ndarray:
    draw = np.random.default_rng(3)
    if kind == "wide":  # more levels than a byte holds
        return draw.integers(0, 300, (3, 15, 15)).astype(np.uint16)
    levels = draw.integers(0, 6, (6, 17, 13))
    levels[0], levels[1] = 0, 5  # all empty, all salt
    levels[2, :9] = 0  # salt below alone
    levels[3] = np.where(draw.random((17, 13)) < 0.1, 5, 2)
    return levels.astype(np.uint8)


@pytest.mark.parametrize("kind", ["few", "wide"])
def test_a_cleaned_map_thresholds_to_the_cleaned_masks_of_the_map(kind: str) -> None:
    levels = maps(kind)
    cleaned = clean_levels(levels, SIZES, HOLES)
    assert cleaned.shape == (len(SIZES), len(HOLES), *levels.shape)
    for cut in range(1, levels.max() + 1, 1 if kind == "few" else 60):
        for size, holes in np.ndindex(len(SIZES), len(HOLES)):
            expected = clean_masks(levels >= cut, SIZES[size], HOLES[holes])
            assert ((cleaned[size, holes] >= cut) == expected).all(), (cut, size, holes)


@pytest.mark.parametrize("size", [2, 6])
@pytest.mark.parametrize("holes", [1, 9])
def test_masks_are_cleaned_as_scikit_image_does(size: int, holes: int) -> None:
    masks = np.random.default_rng(1).random((5, 30, 30)) > 0.45
    for mask, cleaned in zip(masks, clean_masks(masks, size, holes), strict=True):
        kept = remove_small_objects(mask, max_size=size - 1)
        assert (cleaned == remove_small_holes(kept, max_size=holes)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2), (5, 2)])
def test_salt_in_the_smallest_of_boxes_is_cleaned_as_well(shape: tuple[int, int]) -> None:
    levels = np.zeros((9, 9), np.uint16)
    levels[2 : 2 + shape[0], 3 : 3 + shape[1]] = 7
    kept, removed = _opened(levels, np.array([shape[0] * shape[1], shape[0] * shape[1] + 1]))
    np.testing.assert_array_equal(kept, levels)
    assert not removed.any()

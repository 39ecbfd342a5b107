"""Small components and holes of masks."""

import numpy as np
import pytest
from skimage.morphology import remove_small_holes, remove_small_objects

from salt.infer.shapes import clean_masks


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


@pytest.mark.parametrize("size", [2, 6])
@pytest.mark.parametrize("holes", [1, 9])
def test_masks_are_cleaned_as_scikit_image_does(size: int, holes: int) -> None:
    masks = np.random.default_rng(1).random((5, 30, 30)) > 0.45
    for mask, cleaned in zip(masks, clean_masks(masks, size, holes), strict=True):
        kept = remove_small_objects(mask, max_size=size - 1)
        assert (cleaned == remove_small_holes(kept, max_size=holes)).all()

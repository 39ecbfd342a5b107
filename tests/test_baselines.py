"""The baselines on images whose masks are plain to see."""

import numpy as np

from salt.baselines import empty_masks, otsu_masks


def test_the_empty_baseline_finds_no_salt():
    masks = empty_masks(np.full((3, 5, 5), 200, np.uint8))
    assert masks.shape == (3, 5, 5)
    assert masks.dtype == np.uint8
    assert not masks.any()


def test_otsu_separates_the_bright_half_of_each_image():
    left, right = np.full((2, 6, 6), 40, np.uint8)
    left[:, :3], right[:, 3:] = 90, 220  # levels differ between images; the split does not
    masks = otsu_masks(np.stack([left, right]))
    assert masks.dtype == np.uint8
    assert (masks[0] == (left == 90)).all()
    assert (masks[1] == (right == 220)).all()


def test_otsu_finds_no_salt_in_a_constant_image():
    assert not otsu_masks(np.stack([np.zeros((4, 4)), np.full((4, 4), 255)]).astype(np.uint8)).any()

"""The convolutional CRF, against hand values and what it must never do."""

import numpy as np
import pytest
from scipy.special import expit, logit

from salt.infer.crf import APPEARANCE, SMOOTHNESS, smooth_by_image


def test_no_iteration_changes_nothing() -> None:
    maps = np.random.default_rng(0).random((2, 9, 9)).astype(np.float16)
    assert (smooth_by_image(maps, np.zeros((2, 9, 9), np.uint8), 0) == maps).all()


def test_on_an_even_image_all_neighbours_count_alike() -> None:
    maps = np.full((1, 9, 9), 0.8)
    smoothed = smooth_by_image(maps, np.full((1, 9, 9), 77, np.uint8), 1)
    expected = expit(logit(0.8) + (APPEARANCE + SMOOTHNESS) * 0.6)  # 2 x 0.8 - 1, at borders too
    assert smoothed == pytest.approx(expected, rel=1e-5)


def test_two_pixels_hear_each_other_alone() -> None:
    maps = np.array([[[0.5, 0.9]]])
    for images in (np.zeros((1, 1, 2), np.uint8), np.array([[[0, 255]]], np.uint8)):
        smoothed = smooth_by_image(maps, images, 1)[0, 0]
        pull = SMOOTHNESS + APPEARANCE  # a lone neighbour is the whole window, however unlike
        expected = [expit(pull * 0.8), expit(logit(0.9) + 0)]
        assert smoothed == pytest.approx(expected, rel=1e-4)


def test_a_pixel_in_doubt_sides_with_pixels_of_its_grey() -> None:
    image = np.zeros((1, 9, 9), np.uint8)
    image[:, :, 4:] = 200
    maps = np.where(image > 0, 0.9, 0.1)
    maps[0, 4, 3] = maps[0, 4, 4] = 0.5
    smoothed = smooth_by_image(maps, image, 3)[0]
    assert smoothed[4, 3] < 0.2 < 0.8 < smoothed[4, 4]


def test_salt_and_background_are_treated_alike() -> None:
    draw = np.random.default_rng(1)
    maps, images = draw.random((3, 12, 12)), draw.integers(0, 256, (3, 12, 12)).astype(np.uint8)
    mirrored = 1 - smooth_by_image(1 - maps, images, 4)
    np.testing.assert_allclose(smooth_by_image(maps, images, 4), mirrored, atol=1e-5)


def test_extremes_stay_probabilities_and_tiles_do_not_mix() -> None:
    draw = np.random.default_rng(2)
    maps = np.stack([np.zeros((9, 9)), np.ones((9, 9)), draw.random((9, 9))])
    images = draw.integers(0, 256, maps.shape).astype(np.uint8)
    smoothed = smooth_by_image(maps, images, 5)
    assert smoothed.min() >= 0
    assert smoothed.max() <= 1
    assert (smoothed[0] < 0.5).all()
    assert (smoothed[1] > 0.5).all()
    np.testing.assert_allclose(smoothed[2:], smooth_by_image(maps[2:], images[2:], 5), rtol=1e-6)

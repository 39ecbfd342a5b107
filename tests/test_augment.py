from collections import Counter
from dataclasses import replace

import albumentations as A
import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import GREY_MEAN
from salt.seeding import derive_seed

NOTHING = AugmentConfig(
    horizontal_flip=0.0,
    affine=0.0,
    shift=0.0,
    zoom=0.0,
    shear=0.0,
    brightness=0.0,
    contrast=0.0,
)
GEOMETRY = replace(NOTHING, horizontal_flip=0.5, affine=1.0, shift=0.1, zoom=0.15, shear=8.0)
ALL = replace(GEOMETRY, affine=0.7, brightness=0.1, contrast=0.2)
FURTHER = {
    "rotation": 10.0,
    "elastic": 1.0,
    "gamma": 0.3,
    "polarity": 1.0,
    "noise": 0.1,
    "cutout": 1.0,
}
GREY_ALONE = ("gamma", "polarity", "noise", "cutout")
FLIPS = replace(NOTHING, horizontal_flip=1.0)


@pytest.fixture
def mask() -> np.ndarray:
    """A lopsided blob."""
    rows, columns = np.mgrid[:101, :101]
    blob = (rows - 40) ** 2 / 700 + (columns - 60) ** 2 / 300 < 1
    return (blob | ((rows > 70) & (columns < 30))).astype(np.uint8)


@pytest.fixture
def texture() -> np.ndarray:
    """Three different grey channels [H, W, 3]."""
    return np.random.default_rng(0).integers(60, 190, (101, 101, 3), dtype=np.uint8)


def as_image(mask: np.ndarray) -> np.ndarray:
    return np.repeat(255 * mask[:, :, None], 3, axis=2)


def test_an_image_that_is_the_mask_stays_so(mask: np.ndarray) -> None:
    augmentation = Augmentation(GEOMETRY)
    moved = 0
    for seed in range(30):
        image, turned, _ = augmentation(as_image(mask), mask, 1 - mask, seed)
        # the image is interpolated and the mask is not: they may differ along the boundary
        sure = ~(binary_dilation(turned) & ~binary_erosion(turned, border_value=1))
        for channel in range(3):
            np.testing.assert_array_equal((image[..., channel] > 127)[sure], turned[sure] == 1)
        moved += (turned != mask).any()
    assert moved == 30


def test_the_ignore_mask_moves_with_the_mask(mask: np.ndarray) -> None:
    augmentation = Augmentation(ALL)
    for seed in range(30):
        _, turned, ignored = augmentation(as_image(mask), mask, 1 - mask, seed)
        np.testing.assert_array_equal(ignored, 1 - turned)


def test_masks_keep_their_two_values_and_everything_its_shape_and_type(
    mask: np.ndarray, texture: np.ndarray
) -> None:
    for channels in (1, 3):
        arrays = Augmentation(ALL)(texture[..., :channels].copy(), mask, 1 - mask, seed=3)
        assert [array.shape for array in arrays] == [(101, 101, channels), (101, 101), (101, 101)]
        assert all(array.dtype == np.uint8 for array in arrays)
        assert set(np.unique(arrays[1])) == {0, 1}


def test_a_flip_mirrors_left_and_right_and_never_top_and_bottom(
    mask: np.ndarray, texture: np.ndarray
) -> None:
    image, turned, _ = Augmentation(FLIPS)(texture, mask, mask, seed=1)
    np.testing.assert_array_equal(image, texture[:, ::-1])
    np.testing.assert_array_equal(turned, mask[:, ::-1])


def test_a_flip_turns_a_stack_along_the_section_around_and_nothing_else_does(
    mask: np.ndarray, texture: np.ndarray
) -> None:
    coin, flipped = Augmentation(replace(NOTHING, horizontal_flip=0.5)), 0
    everything = Augmentation(replace(ALL, noise=0.1, cutout=0.5))
    for seed in range(30):
        image, turned, _ = coin(texture, mask, mask, seed, along_section=True)
        mirrored = bool((turned != mask).any())
        expected = texture[:, ::-1, ::-1] if mirrored else texture
        np.testing.assert_array_equal(image, expected)
        flipped += mirrored
        across = everything(texture, mask, 1 - mask, seed)
        along = everything(texture, mask, 1 - mask, seed, along_section=True)
        in_order = across[0][..., ::-1] if mirrored else across[0]
        for one, other in zip(along, (in_order, *across[1:]), strict=True):
            np.testing.assert_array_equal(one, other)
    assert 5 < flipped < 25


def test_nothing_asked_for_changes_nothing(mask: np.ndarray, texture: np.ndarray) -> None:
    image, turned, ignored = Augmentation(NOTHING)(texture, mask, 1 - mask, seed=1)
    np.testing.assert_array_equal(image, texture)
    np.testing.assert_array_equal(turned, mask)
    np.testing.assert_array_equal(ignored, 1 - mask)


def test_brightness_and_contrast_leave_masks_and_equal_channels_alone(mask: np.ndarray) -> None:
    grey = np.repeat(np.arange(101, dtype=np.uint8)[:, None, None] + 50, 101, axis=1)
    stack = np.ascontiguousarray(np.repeat(grey, 3, axis=2))
    config = replace(NOTHING, brightness=0.1, contrast=0.2)
    image, turned, _ = Augmentation(config)(stack, mask, mask, seed=2)
    assert (image != stack).any()
    assert (image == image[..., :1]).all()
    np.testing.assert_array_equal(turned, mask)


@pytest.mark.parametrize("setting", ["shift", "zoom", "shear", "brightness", "contrast"])
def test_each_setting_changes_the_tile(setting: str, mask: np.ndarray, texture: np.ndarray) -> None:
    config = replace(NOTHING, affine=1.0, **{setting: getattr(ALL, setting)})
    image, _, _ = Augmentation(config)(texture, mask, mask, seed=5)
    assert (image != texture).any()


def test_the_same_seed_gives_the_same_tile_whatever_came_before(
    mask: np.ndarray, texture: np.ndarray
) -> None:
    used, fresh = Augmentation(ALL), Augmentation(ALL)
    for seed in range(5):
        used(texture, mask, mask, seed)
    for first, second in zip(
        used(texture, mask, mask, seed=9), fresh(texture, mask, mask, seed=9), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_another_seed_gives_another_tile(mask: np.ndarray, texture: np.ndarray) -> None:
    augmentation = Augmentation(ALL)
    first, second = (augmentation(texture, mask, mask, seed)[0] for seed in (1, 2))
    assert (first != second).any()


def test_a_tile_is_flipped_independently_of_whether_it_is_sheared(
    mask: np.ndarray, texture: np.ndarray
) -> None:
    config = replace(GEOMETRY, affine=0.5)
    augmentation = Augmentation(config)
    plain = {texture.tobytes(): "as it was", texture[:, ::-1].tobytes(): "flipped alone"}
    images = (augmentation(texture, mask, mask, seed)[0] for seed in range(400))
    counts = Counter(plain.get(image.tobytes(), "sheared") for image in images)
    # expected 100, 100 and 200, standard deviation about 9
    assert 60 < counts["as it was"] < 140
    assert 60 < counts["flipped alone"] < 140


def only(setting: str) -> Augmentation:
    return Augmentation(replace(NOTHING, affine=1.0, **{setting: FURTHER[setting]}))


def test_what_is_off_changes_no_bit_of_the_first_augmentations(
    mask: np.ndarray, texture: np.ndarray
) -> None:
    """As `salt.augment` composed them before the further ones came."""
    first = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                translate_percent=(-0.1, 0.1),
                scale=(0.85, 1.15),
                shear={"x": (-8.0, 8.0), "y": (-8.0, 8.0)},
                border_mode=cv2.BORDER_REFLECT_101,
                p=0.7,
            ),
            A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.2, p=1.0),
        ]
    )
    augmentation = Augmentation(ALL)
    for seed in range(20):
        for position, transform in enumerate(first.transforms):
            transform.set_random_seed(derive_seed(seed, position) % 2**32)
        expected = first(image=texture, masks=np.stack([mask, 1 - mask]))
        image, turned, ignored = augmentation(texture, mask, 1 - mask, seed)
        np.testing.assert_array_equal(image, expected["image"])
        np.testing.assert_array_equal(np.stack([turned, ignored]), expected["masks"])


@pytest.mark.parametrize("setting", FURTHER)
def test_each_further_setting_changes_the_tile_alike_for_the_same_seed(
    setting: str, mask: np.ndarray, texture: np.ndarray
) -> None:
    used, fresh = only(setting), only(setting)
    images = [used(texture, mask, mask, seed)[0] for seed in range(5)]
    assert sum((image != texture).any() for image in images) >= 4  # a gamma near 1 rounds away
    np.testing.assert_array_equal(fresh(texture, mask, mask, 3)[0], images[3])


@pytest.mark.parametrize("setting", GREY_ALONE)
def test_grey_values_change_without_the_masks(
    setting: str, mask: np.ndarray, texture: np.ndarray
) -> None:
    for seed in range(5):
        _, turned, ignored = only(setting)(texture, mask, 1 - mask, seed)
        np.testing.assert_array_equal(turned, mask)
        np.testing.assert_array_equal(ignored, 1 - mask)


@pytest.mark.parametrize("setting", ["rotation", "elastic"])
def test_what_moves_the_image_moves_both_masks_with_it(setting: str, mask: np.ndarray) -> None:
    moved = 0
    for seed in range(10):
        image, turned, ignored = only(setting)(as_image(mask), mask, 1 - mask, seed)
        np.testing.assert_array_equal(ignored, 1 - turned)
        # the image is interpolated and the mask is not: they may differ along the boundary
        sure = ~(binary_dilation(turned) & ~binary_erosion(turned, border_value=1))
        np.testing.assert_array_equal((image[..., 0] > 127)[sure], turned[sure] == 1)
        moved += (turned != mask).any()
    assert moved >= 9


def test_polarity_turns_grey_values_around(mask: np.ndarray, texture: np.ndarray) -> None:
    image, _, _ = only("polarity")(texture, mask, mask, seed=1)
    np.testing.assert_array_equal(image, 255 - texture)


def test_gamma_keeps_black_white_and_the_order_of_greys() -> None:
    blank = np.zeros((4, 256), np.uint8)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=0)
    curves = [only("gamma")(ramp, blank, blank, seed)[0][0, :, 0] for seed in range(5)]
    for curve in curves:
        assert (curve[0], curve[-1]) == (0, 255)
        assert (np.diff(curve.astype(int)) >= 0).all()


def test_noise_is_drawn_for_every_channel_and_stays_below_its_highest_deviation(
    mask: np.ndarray,
) -> None:
    grey = np.full((101, 101, 3), 128, np.uint8)
    deviations = []
    for seed in range(10):
        noisy = only("noise")(grey, mask, mask, seed)[0].astype(float) - 128
        assert abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1]) < 0.05
        deviations.append(noisy.std() / 255)
    assert max(deviations) < 0.105
    assert max(deviations) > 2 * min(deviations)


def test_cutout_blanks_rectangles_of_the_mean_grey(mask: np.ndarray, texture: np.ndarray) -> None:
    for seed in range(10):
        image, _, _ = only("cutout")(texture, mask, mask, seed)
        blank = (image != texture).any(axis=2)
        assert (image[blank] == round(255 * GREY_MEAN)).all()
        assert 0.008 < blank.mean() < 3 * 0.25**2


def test_a_warp_moves_pixels_by_about_two_of_them(mask: np.ndarray) -> None:
    ramp = np.repeat(2 * np.arange(101, dtype=np.uint8)[None, :, None], 101, axis=0)
    shifts = [
        (only("elastic")(ramp, mask, mask, seed)[0].astype(float) - ramp)[20:-20, 20:-20] / 2
        for seed in range(10)
    ]
    assert 1.5 < np.std(shifts) < 2.5

import io

import numpy as np
import pytest
from PIL import Image

from salt.errors import InputError
from salt.sources.tile_format import reduce_image, reduce_mask, tile_format


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def blocks(*values: list[int]) -> np.ndarray:
    """Lay 2x2 blocks of four values side by side, in a square with empty blocks below."""
    pixels = np.zeros((2 * len(values), 2 * len(values)), np.uint8)
    pixels[:2] = np.concatenate([np.reshape(block, (2, 2)) for block in values], axis=1)
    return pixels


@pytest.mark.parametrize("salt", [1, 255, 65535])
def test_native_salt_is_whatever_is_not_zero(salt: int) -> None:
    values = np.zeros((101, 101), np.uint16 if salt > 255 else np.uint8)
    values[3, 4] = salt
    mask, ignore = tile_format("native").mask(png(values), "x")
    assert np.argwhere(mask).tolist() == [[3, 4]] and mask.max() == 1
    assert mask.dtype == ignore.dtype == np.uint8 and not ignore.any()


def test_a_native_mask_all_salt_is_accepted() -> None:
    mask, _ = tile_format("native").mask(png(np.full((101, 101), 255, np.uint8)), "x")
    assert mask.all()


def test_a_native_mask_in_grey_is_refused_with_a_hint() -> None:
    values = np.zeros((101, 101), np.uint8)
    values[0, :2] = 100, 254
    with pytest.raises(InputError, match=r"x: 3 different values.*tile_format: upscaled_202"):
        tile_format("native").mask(png(values), "x")


def test_image_blocks_are_averaged_and_halves_rounded_up() -> None:
    pixels = blocks([1, 2, 3, 4], [0, 0, 0, 1], [255, 255, 255, 255])
    assert reduce_image(pixels)[0].tolist() == [3, 0, 255]  # 2.5, 0.25, 255


@pytest.mark.parametrize(
    ("block", "mask", "ignore"),
    [
        ([254, 254, 254, 254], 1, 0),
        ([254, 254, 0, 0], 1, 0),  # just half
        ([254, 253, 0, 0], 0, 0),
        ([127, 127, 127, 127], 1, 0),
        ([127, 127, 127, 126], 0, 0),
        ([255, 127, 127, 127], 1, 0),  # the ignored pixel does not vote
        ([255, 254, 127, 0], 1, 0),
        ([255, 126, 127, 127], 0, 0),
        ([255, 255, 254, 254], 0, 1),  # half of it ignored
        ([255, 255, 255, 255], 0, 1),
    ],
)
def test_mask_blocks_vote_by_their_share_of_salt(block: list[int], mask: int, ignore: int) -> None:
    assert [part[0, 0] for part in reduce_mask(blocks(block))] == [mask, ignore]


def test_linear_enlargement_of_a_mask_is_undone_exactly() -> None:
    mask = (np.random.default_rng(0).random((101, 101)) < 0.5).astype(np.uint8)
    enlarged = Image.fromarray(mask * np.uint8(254)).resize((202, 202), Image.Resampling.BILINEAR)
    reduced, ignore = reduce_mask(np.asarray(enlarged))
    np.testing.assert_array_equal(reduced, mask)
    assert not ignore.any()


def test_upscaled_masks_beyond_eight_bits_are_refused() -> None:
    values = np.full((202, 202), 65535, np.uint16)
    with pytest.raises(InputError, match=r"x: 16-bit values up to 65535; expected 0\.\.254"):
        tile_format("upscaled_202").mask(png(values), "x")


def test_upscaled_tiles_arrive_at_the_store_size() -> None:
    form, pixels = tile_format("upscaled_202"), np.full((202, 202), 254, np.uint8)
    assert form.image(png(pixels), "x").shape == (101, 101)
    assert form.mask(png(pixels), "x")[0].shape == (101, 101)


def test_plain_tiles_are_refused_as_upscaled_with_a_hint() -> None:
    with pytest.raises(InputError, match=r"x: 101x101 pixels; .* data\.tile_format: native"):
        tile_format("upscaled_202").image(png(np.zeros((101, 101), np.uint8)), "x")


def test_an_unknown_format_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"'webp' is unknown; .*native, upscaled_202"):
        tile_format("webp")

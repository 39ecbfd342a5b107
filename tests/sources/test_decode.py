import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from salt.errors import InputError
from salt.sources.decode import SIGNATURE, read_grey, read_mask_values

TILE = np.random.default_rng(0).integers(0, 256, (101, 101), dtype=np.uint8)


def png(image: Image.Image | np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def raw_png(pixels: np.ndarray, depth: int, colour_type: int) -> bytes:
    """Write a PNG by hand from big-endian rows; Pillow cannot save every kind it reads."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        SIGNATURE
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_equal_channels_give_the_grey_tile_back(mode: str) -> None:
    np.testing.assert_array_equal(
        read_grey(png(Image.fromarray(TILE).convert(mode)), 101, "x"), TILE
    )


def test_alpha_is_dropped_even_where_transparent() -> None:
    image = Image.fromarray(TILE).convert("RGBA")
    image.putalpha(0)
    np.testing.assert_array_equal(read_grey(png(image), 101, "x"), TILE)


def test_unequal_channels_give_luminance() -> None:
    colours = np.zeros((101, 101, 3), np.uint8)
    colours[0, :3] = np.eye(3) * 255  # red, green, blue
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B
    assert read_grey(png(colours), 101, "x")[0, :4].tolist() == [76, 150, 29, 0]


def test_a_palette_is_looked_up() -> None:
    image = Image.fromarray(255 - TILE)
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([255 - index // 3 for index in range(768)])
    np.testing.assert_array_equal(read_grey(png(image), 101, "x"), TILE)


@pytest.mark.parametrize("factor", [256, 257])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_scale_to_eight(factor: int, channels: int) -> None:
    wide = np.repeat(TILE[..., None].astype(">u2") * factor, channels, axis=2).astype(">u2")
    content = raw_png(wide, 16, {1: 0, 3: 2}[channels])
    np.testing.assert_array_equal(read_grey(content, 101, "x"), TILE)


def test_eight_bit_values_in_sixteen_bits_are_refused_rather_than_black() -> None:
    with pytest.raises(InputError, match=r"x: 16-bit with no value above 255"):
        read_grey(raw_png((TILE | 255).astype(">u2"), 16, 0), 101, "x")


def test_one_bit_stretches_to_black_and_white() -> None:
    content = png(Image.fromarray(TILE > 127))
    np.testing.assert_array_equal(read_grey(content, 101, "x"), (TILE > 127) * np.uint8(255))


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (0, 254, 7)])
def test_eight_bit_mask_values_come_as_stored(values: tuple[int, ...]) -> None:
    mask = np.resize(np.array(values, np.uint8), (101, 101))
    np.testing.assert_array_equal(read_mask_values(png(mask), 101, "x"), mask)


def test_sixteen_bit_mask_values_come_as_stored() -> None:
    mask = np.resize(np.array([0, 1, 65535], np.uint16), (101, 101))
    np.testing.assert_array_equal(read_mask_values(png(mask), 101, "x"), mask)


def test_no_colour_but_black_is_zero_in_a_mask() -> None:
    colours = np.zeros((101, 101, 3), np.uint8)
    colours[0, 0] = [0, 0, 1]  # luminance 0.114, which would round to rock
    assert np.argwhere(read_mask_values(png(colours), 101, "x")).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: b"", "not a PNG"),
        (lambda whole: b"\xff\xd8\xff\xe0" + whole, "not a PNG"),
        (lambda whole: SIGNATURE, "truncated PNG (ends after 8 bytes)"),
        (lambda whole: whole[: len(whole) // 2], "truncated PNG"),
        (lambda whole: whole[:-12], "truncated PNG"),  # Pillow alone would take it
        (lambda whole: whole[:-1], "truncated PNG"),
        (
            lambda whole: whole[:99] + bytes([whole[99] ^ 1]) + whole[100:],
            "damaged PNG (wrong checksum",
        ),
        (lambda whole: whole[:33] + chunk(b"IEND", b""), "damaged PNG"),  # no pixels at all
        (lambda whole: whole[:33] + chunk(b"IDAT", b"no") + whole[33:], "damaged PNG"),
    ],
)
def test_a_damaged_png_names_the_file(damage: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(InputError) as error:
        read_grey(damage(png(TILE)), 101, "train.zip: images/a.png")
    assert str(error.value).startswith(f"train.zip: images/a.png: {message}")
    assert "expected" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((101, 100), r"x: 100x101 pixels; expected 101x101"),
        ((202, 202), r"x: 202x202 pixels; .* set data\.tile_format: upscaled_202"),
    ],
)
def test_a_wrong_size_says_which_and_hints_at_the_format(
    shape: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_grey(png(np.zeros(shape, np.uint8)), 101, "x")


@pytest.mark.filterwarnings("error")
def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    bomb = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match=r"2147483647x2147483647 pixels; expected 101x101"):
        read_grey(bomb, 101, "x")


def test_text_in_a_png_does_no_harm() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "salt")
    np.testing.assert_array_equal(read_grey(png(TILE, pnginfo=text), 101, "x"), TILE)

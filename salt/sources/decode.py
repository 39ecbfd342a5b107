"""PNG bytes to grey values: every colour type and bit depth that tiles come in.

The file is proven sound before Pillow sees it. Pillow takes a PNG whose end is cut off,
and allocates whatever size the header claims; neither may reach the store.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from salt.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_grey(png: bytes, size: int, where: str) -> np.ndarray:
    """Return the brightness of a picture as uint8 [size, size].

    Colours become their luminance (ITU-R 601), which is the channel itself where all three
    are equal; alpha is dropped; a palette is looked up; fewer than 8 bits are stretched to
    0..255, and of 16 bits the high byte is kept, which inverts both v * 257 and v * 256.

    Raises:
        InputError: not a whole PNG of that size; `where` names it in the message.
    """
    picture = _open(png, size, where)
    if not picture.mode.startswith("I"):
        return np.asarray(picture.convert("L"))
    values = np.asarray(picture)  # 16-bit grey; Pillow calls it I;16
    if values.any() and values.max() < 256:
        raise InputError(
            f"{where}: 16-bit with no value above {values.max()}, which is black; expected "
            "amplitudes over 0..65535. Save the picture with 8 bits."
        )
    return (values >> 8).astype(np.uint8)


def read_mask_values(png: bytes, size: int, where: str) -> np.ndarray:
    """Return a mask's values as stored, uint8 or uint16 [size, size].

    Of colours the largest channel is taken, so that no colour but black becomes 0; alpha is
    dropped; of one bit, 1 becomes 255.

    Raises:
        InputError: not a whole PNG of that size; `where` names it in the message.
    """
    picture = _open(png, size, where)
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16)
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"))
    return np.asarray(picture.convert("RGB")).max(axis=2)


def _open(png: bytes, size: int, where: str) -> Image.Image:
    """Return the decoded picture, its size and checksums proven."""
    _check_header(png, size, where)
    _check_chunks(png, where)
    try:
        picture = Image.open(io.BytesIO(png), formats=["PNG"])
        picture.load()
    except Exception as error:  # damage makes Pillow raise a dozen unrelated types
        raise InputError(
            f"{where}: damaged PNG ({error}); expected a picture of {size}x{size}. {_REMEDY}"
        ) from error
    return picture


def _check_header(png: bytes, size: int, where: str) -> None:
    if not png.startswith(SIGNATURE):
        raise InputError(
            f"{where}: not a PNG (begins with {png[:8]!r}); expected a PNG of {size}x{size}. "
            f"{_REMEDY}"
        )
    if len(png) < 33 or png[12:16] != b"IHDR":
        raise _truncated(where, len(png))
    width, height = struct.unpack(">II", png[16:24])
    if (width, height) != (size, size):
        hint = {
            101: "If these are the plain tiles, set data.tile_format: native.",
            202: "If these are the upscaled tiles, set data.tile_format: upscaled_202.",
        }.get(width if width == height else 0, _REMEDY)
        raise InputError(f"{where}: {width}x{height} pixels; expected {size}x{size}. {hint}")


def _check_chunks(png: bytes, where: str) -> None:
    """Walk the chunks to the end mark; verify the checksums of those that make the picture."""
    position = len(SIGNATURE)
    while position + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, position)
        kind = png[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(png):
            break
        is_critical = kind[:1].isupper()
        if is_critical and zlib.crc32(png[position + 4 : end]) != int.from_bytes(
            png[end : end + 4]
        ):
            raise InputError(
                f"{where}: damaged PNG (wrong checksum in its {kind!r} chunk); expected the "
                f"file as written. {_REMEDY}"
            )
        if kind == b"IEND":
            return
        position = end + 4
    raise _truncated(where, len(png))


def _truncated(where: str, size: int) -> InputError:
    return InputError(
        f"{where}: truncated PNG (ends after {size} bytes); expected it to close with IEND. "
        f"{_REMEDY}"
    )


_REMEDY = "Replace the file by a sound copy."

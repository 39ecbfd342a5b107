"""The forms tiles are handed out in, and how each becomes the store's 101x101.

native        101x101; in a mask 0 is rock and one other value is salt
upscaled_202  202x202; a mask's 0..254 is the share of salt, 255 is "ignore"
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from salt.errors import InputError
from salt.sources.decode import read_grey, read_mask_values
from salt.store import TILE_SIZE

FULL_SALT, IGNORED = 254, 255  # values of an upscaled mask


@dataclass(frozen=True)
class TileFormat:
    """How the pictures of one form become tiles.

    Attributes:
        image: (png, where) -> uint8 [101, 101].
        mask: (png, where) -> mask and ignore, both uint8 [101, 101] in {0, 1}; no pixel is in
            both. `where` names the file in messages.
    """

    image: Callable[[bytes, str], np.ndarray]
    mask: Callable[[bytes, str], tuple[np.ndarray, np.ndarray]]


def tile_format(name: str) -> TileFormat:
    """Return the form called `name`.

    Raises:
        InputError: there is none of that name.
    """
    if name not in _FORMATS:
        raise InputError(
            f"tile format {name!r} is unknown; expected one of {', '.join(_FORMATS)}. "
            "Change data.tile_format."
        )
    return _FORMATS[name]


def reduce_image(image: np.ndarray) -> np.ndarray:
    """Average 2x2 blocks of uint8 [2S, 2S] to [S, S], halves rounded up."""
    return ((_block_sums(image) + 2) // 4).astype(np.uint8)


def reduce_mask(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce mask values 0..255 [2S, 2S] to (mask, ignore), both uint8 [S, S] in {0, 1}.

    A block is ignored if at least two of its four pixels are; else it is salt if the mean
    of its other pixels is at least half of 254. Enlarging a mask linearly and reducing it
    so gives the mask back.
    """
    ignored = values == IGNORED
    counted = 4 - _block_sums(ignored)
    salt = _block_sums(np.where(ignored, 0, values))
    ignore = counted <= 2
    mask = ~ignore & (2 * salt >= FULL_SALT * counted)
    return mask.astype(np.uint8), ignore.astype(np.uint8)


def _block_sums(pixels: np.ndarray) -> np.ndarray:
    side = len(pixels) // 2
    return pixels.reshape(side, 2, side, 2).sum(axis=(1, 3), dtype=np.int64)


def _native_image(png: bytes, where: str) -> np.ndarray:
    return read_grey(png, TILE_SIZE, where)


def _native_mask(png: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    values = read_mask_values(png, TILE_SIZE, where)
    salt = values != 0
    if salt.any() and (values[salt] != values.max()).any():
        raise InputError(
            f"{where}: {len(np.unique(values))} different values up to {values.max()}; expected "
            "0 for rock and one other value for salt. Masks in shades of grey are only read from "
            "202x202 tiles with data.tile_format: upscaled_202."
        )
    return salt.astype(np.uint8), np.zeros_like(salt, dtype=np.uint8)


def _upscaled_image(png: bytes, where: str) -> np.ndarray:
    return reduce_image(read_grey(png, 2 * TILE_SIZE, where))


def _upscaled_mask(png: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    values = read_mask_values(png, 2 * TILE_SIZE, where)
    if values.max() > IGNORED:
        raise InputError(
            f"{where}: 16-bit values up to {values.max()}; expected 0..254 for the share of salt "
            "and 255 for ignored pixels. Save the mask with 8 bits, or use the plain tiles with "
            "data.tile_format: native."
        )
    return reduce_mask(values)


_FORMATS = {
    "native": TileFormat(_native_image, _native_mask),
    "upscaled_202": TileFormat(_upscaled_image, _upscaled_mask),
}

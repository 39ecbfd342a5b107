"""Tiles as colour pictures: grey amplitude, perceptually uniform maps, mask outlines."""

import io

import numpy as np

from salt.report.palette import PREDICTION, TRUTH, rgb

SCALE = 4  # screen pixels per tile pixel: room for outlines that do not hide the tile
TRUTH_WIDTH, PREDICTION_WIDTH = 4, 2  # half widths, screen pixels; both show where they coincide
TINT = 0.35  # opacity of a filled mask


def paint_amplitude(image: np.ndarray) -> np.ndarray:
    """Return uint8 RGB [S*H, S*W, 3] of grey amplitude uint8 [H, W]."""
    return np.repeat(_enlarged(image)[..., None], 3, axis=2)


def paint_map(values: np.ndarray, maximum: float, colours: str) -> np.ndarray:
    """Return uint8 RGB [S*H, S*W, 3] of values [H, W] from 0 to `maximum` in a named map."""
    from matplotlib import colormaps

    shares = np.clip(np.asarray(values, np.float64) / maximum, 0, 1)
    return colormaps[colours](_enlarged(shares), bytes=True)[..., :3]


def fill(picture: np.ndarray, mask: np.ndarray, colour: str) -> np.ndarray:
    """Return the picture with the mask [H, W] tinted in `#rrggbb`."""
    inside = _enlarged(mask).astype(bool)
    tinted = picture.astype(np.float64)
    tinted[inside] = (1 - TINT) * tinted[inside] + TINT * np.array(rgb(colour))
    return tinted.round().astype(np.uint8)


def outline_truth(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the picture with the outline of the true mask [H, W], the wider line."""
    return _outline(picture, mask, TRUTH, TRUTH_WIDTH)


def outline_prediction(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the picture with the outline of the predicted mask [H, W], the narrower line."""
    return _outline(picture, mask, PREDICTION, PREDICTION_WIDTH)


def boundary(inside: np.ndarray, width: int) -> np.ndarray:
    """Return the line between mask and background, bool [H, W] as the mask, `width` either way.

    The picture's own frame is no boundary.
    """
    from scipy.ndimage import binary_dilation, binary_erosion

    grown = binary_dilation(inside, iterations=width)
    return grown & ~binary_erosion(inside, iterations=width, border_value=1)


def png(picture: np.ndarray) -> bytes:
    """Return uint8 RGB [H, W, 3] as PNG bytes, the same for the same picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG")
    return buffer.getvalue()


def _outline(picture: np.ndarray, mask: np.ndarray, colour: str, width: int) -> np.ndarray:
    """Draw the boundary between mask and background."""
    drawn = picture.copy()
    drawn[boundary(_enlarged(mask).astype(bool), width)] = rgb(colour)
    return drawn


def _enlarged(tile: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(tile, SCALE, axis=0), SCALE, axis=1)

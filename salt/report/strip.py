"""The README's picture: a few tiles as rows, the pipeline's steps as columns."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salt.report.painting import SCALE, TINT
from salt.report.palette import (
    LIGHT,
    PREDICTION,
    PROBABILITY_MAP,
    TRUTH,
    UNCERTAINTY_MAP,
    rgb,
)
from salt.report.panels import Panel
from salt.store import TILE_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

SIDE = 2 * TILE_SIZE  # screen pixels of a panel: half the gallery's, which smooths outlines
GAP, MARGIN, HEADER, FOOTER = 10, 20, 44, 56
TEXT_SIZE = 20
SHADES = 48  # of each family of colours in the stored palette


def compose(rows: list[list[Panel]]) -> bytes:
    """Return the strip as PNG bytes; every row has the same panels."""
    from PIL import Image, ImageDraw

    columns = len(rows[0])
    width = 2 * MARGIN + columns * (SIDE + GAP) - GAP
    height = HEADER + len(rows) * (SIDE + GAP) - GAP + FOOTER
    canvas = Image.new("RGB", (width, height), LIGHT.card)
    draw = ImageDraw.Draw(canvas)
    for column, panel in enumerate(rows[0]):
        middle = MARGIN + column * (SIDE + GAP) + SIDE // 2
        draw.text((middle, HEADER // 2), panel.caption, LIGHT.ink, _font(), anchor="mm")
    for number, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            corner = (MARGIN + column * (SIDE + GAP), HEADER + number * (SIDE + GAP))
            canvas.paste(_halved(panel.picture), corner)
    _draw_legend(canvas, draw, height - FOOTER // 2)
    return _small_png(canvas)


def _halved(picture: np.ndarray) -> "Image":
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(picture)).reduce(SCALE // 2)


def _draw_legend(canvas: "Image", draw: "ImageDraw", middle: int) -> None:
    """Draw what the outline colours and the two colour maps mean, from left to right."""
    at = MARGIN
    for label, colour in (("truth", TRUTH), ("prediction", PREDICTION)):
        draw.rectangle((at, middle - 3, at + 34, middle + 3), fill=colour)
        at = _write(draw, at + 44, middle, label) + 36
    for low, high, colours in (
        ("probability 0", "1", PROBABILITY_MAP),
        ("uncertainty 0", "ln 2", UNCERTAINTY_MAP),
    ):
        at = _write(draw, at, middle, low) + 10
        canvas.paste(_colour_bar(colours), (at, middle - 7))
        at = _write(draw, at + 160, middle, high) + 36


def _write(draw: "ImageDraw", at: int, middle: int, text: str) -> int:
    """Write text from `at` on and return where it ends."""
    draw.text((at, middle), text, LIGHT.muted, _font(), anchor="lm")
    return at + int(draw.textlength(text, _font()))


def _colour_bar(colours: str) -> "Image":
    from matplotlib import colormaps
    from PIL import Image

    ramp = colormaps[colours](np.linspace(0, 1, 150), bytes=True)[:, :3]
    return Image.fromarray(np.ascontiguousarray(np.tile(ramp, (14, 1, 1))))


def _font() -> "FreeTypeFont":
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(path), TEXT_SIZE)


def _small_png(canvas: "Image") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    indexed = canvas.quantize(palette=_palette(), dither=Image.Dither.NONE)
    indexed.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _palette() -> "Image":
    """Return the colours that occur: greys, greys tinted as masks are, both maps, both lines.

    A palette learnt from the picture would merge the thin outlines with what is around them.
    """
    from matplotlib import colormaps
    from PIL import Image

    greys = np.repeat(np.linspace(0, 255, SHADES)[:, None], 3, axis=1)
    tints = [(1 - TINT) * greys + TINT * np.array(rgb(colour)) for colour in (TRUTH, PREDICTION)]
    maps = [
        colormaps[name](np.linspace(0, 1, SHADES))[:, :3] * 255
        for name in (PROBABILITY_MAP, UNCERTAINTY_MAP)
    ]
    lines = np.array([rgb(TRUTH), rgb(PREDICTION), rgb(LIGHT.ink), rgb(LIGHT.muted)])
    image = Image.new("P", (1, 1))
    image.putpalette(
        np.concatenate([greys, *tints, *maps, lines]).round().astype(np.uint8).tobytes()
    )
    return image

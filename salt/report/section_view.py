"""The largest sections, stitched: image with truth and decision over it, uncertainty beside it.

`python -m salt.report.section_view docs/sections.png` draws them as one picture from data/.

A picture holds colours as indices of one palette, so that lines stay exact and files small.
"""

import io
import sys
from dataclasses import dataclass

import numpy as np

from salt.errors import StoreError, reported_errors
from salt.neighbours.mosaics import read_layout, sections_of, stitch
from salt.neighbours.sections import Layout
from salt.report.painting import boundary
from salt.report.palette import (
    LABELLED_TILE,
    PREDICTION,
    TEST_TILE,
    TRUTH,
    UNCERTAINTY_MAP,
    rgb,
)
from salt.report.panels import Panel, TileRow
from salt.report.picture_command import write_picture
from salt.report.run import Labelled, Run, Unlabelled
from salt.store import TILE_SIZE

SHADES = 32  # of grey, and of the uncertainty map: few levels keep the files small
LINES = (TRUTH, PREDICTION, LABELLED_TILE, TEST_TILE)
TRUTH_INK, PREDICTION_INK, LABELLED_INK, TEST_INK = range(2 * SHADES, 2 * SHADES + len(LINES))
GAP_INK = 2 * SHADES + len(LINES)  # transparent: no tile is there, on a light page or a dark one
TRUTH_WIDTH, PREDICTION_WIDTH = 2, 1  # half widths, pixels; both show where they coincide
PIXELS = 1_000_000  # of all sections' images together: two million bytes on the page at worst
LARGEST_SIDE, SMALLEST_SIDE = 2 * TILE_SIZE, 16  # pixels of a tile in the picture
SHEET_SECTIONS, SHEET_GAP = 5, 12  # of the picture for docs


@dataclass(frozen=True)
class SectionPanel(Panel):
    """A panel whose picture holds indices of the palette, uint8 [H, W]."""

    @property
    def png(self) -> bytes:
        """The picture as PNG bytes."""
        return indexed_png(self.picture)


def build_sections(run: Run, count: int) -> list[TileRow]:
    """Paint the `count` largest sections: one row of two panels each, all at one scale."""
    layout = read_layout(run.folder / "index/neighbours.csv", run.store.table["id"])
    chosen = sections_of(layout)[:count]
    tiles = sum(map(len, chosen))
    side = int(np.clip(np.sqrt(PIXELS / max(tiles, 1)), SMALLEST_SIDE, LARGEST_SIDE))
    return [paint_section(run, layout, section, side) for section in chosen]


def paint_section(run: Run, layout: Layout, tiles: np.ndarray, side: int) -> TileRow:
    """Paint one section with tiles `side` pixels wide; `tiles` are ascending rows of the store.

    Labelled tiles show their truth, test tiles theirs where the source knows it.
    """
    row, column = layout.row[tiles], layout.column[tiles]
    truths, decisions, uncertainty = _maps_of(run, tiles)
    frames = np.where(tiles < len(run.store.masks), LABELLED_INK, TEST_INK)
    drawn = zip(run.store.images[tiles], truths, decisions, frames, strict=True)
    images = [_paint_tile(*tile, side) for tile in drawn]
    maps = [
        _framed(_shades(_resized(levels, side)) + SHADES, frame)
        for levels, frame in zip(uncertainty, frames, strict=True)
    ]
    name, facts = f"Section {layout.mosaic[tiles[0]]}", _facts(run, layout, tiles)
    image_alt = f"Stitched image of {name.lower()}, {facts}; salt is outlined."
    map_alt = f"Stitched predictive entropy of {name.lower()}, {facts}."
    panels: list[Panel] = [
        SectionPanel(caption, alt, stitch(np.stack(tile), row, column, GAP_INK))
        for caption, alt, tile in (
            ("Image, truth and decision", image_alt, images),
            ("Uncertainty", map_alt, maps),
        )
    ]
    return TileRow(name, facts, panels)


def indexed_png(picture: np.ndarray) -> bytes:
    """Return a picture of palette indices, uint8 [H, W], as PNG bytes with transparent gaps."""
    from matplotlib import colormaps
    from PIL import Image

    greys = np.repeat(np.linspace(0, 255, SHADES)[:, None], 3, axis=1)
    heat = colormaps[UNCERTAINTY_MAP](np.linspace(0, 1, SHADES))[:, :3] * 255
    lines = [rgb(colour) for colour in LINES]
    colours = np.concatenate([greys, heat, lines, [rgb(TEST_TILE)]])
    image = Image.fromarray(np.ascontiguousarray(picture), "P")
    image.putpalette(colours.round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, transparency=GAP_INK)
    return buffer.getvalue()


def draw_sheet(run: Run) -> np.ndarray | None:
    """Return the largest sections below each other, as palette indices; None without any."""
    layout = read_layout(run.folder / "index/neighbours.csv", run.store.table["id"])
    chosen = sections_of(layout)[:SHEET_SECTIONS]
    rows = [paint_section(run, layout, section, TILE_SIZE) for section in chosen]
    pairs = [_joined([panel.picture for panel in row.panels], axis=1) for row in rows]
    return _joined(pairs, axis=0) if pairs else None


def sheet_of_run(run: Run) -> bytes:
    """Return the largest sections as PNG.

    Raises:
        StoreError: no tile has a neighbour.
    """
    sheet = draw_sheet(run)
    if sheet is None:
        raise StoreError(
            "data/index/neighbours.csv: no tile has a neighbour; expected sections to draw. "
            "Run the pipeline on tiles that were cut side by side."
        )
    return indexed_png(sheet)


def main(arguments: list[str]) -> None:
    """Write the picture of the largest sections to the path given; see `write_picture`."""
    write_picture(arguments, "python -m salt.report.section_view docs/sections.png", sheet_of_run)


def _maps_of(run: Run, tiles: np.ndarray) -> tuple[list[np.ndarray | None], np.ndarray, np.ndarray]:
    """Return truths (None where unknown), decisions and uncertainty uint8 [k, H, W]."""
    border = len(run.store.masks)
    labelled, test = tiles[tiles < border], tiles[tiles >= border] - border
    parts: list[tuple[Labelled | Unlabelled, np.ndarray]]
    parts = [(run.labelled, labelled), (run.unlabelled, test)]
    decisions = [part.decisions(own) for part, own in parts if len(own)]
    uncertainty = [part.uncertainty.read(own) for part, own in parts if len(own)]
    known = run.unlabelled.truth(test)
    truths = [*run.store.masks[labelled], *([None] * len(test) if known is None else known)]
    return truths, np.concatenate(decisions), np.concatenate(uncertainty)


def _facts(run: Run, layout: Layout, tiles: np.ndarray) -> str:
    rows, columns = np.ptp(layout.row[tiles]) + 1, np.ptp(layout.column[tiles]) + 1
    labelled = tiles[tiles < len(run.store.masks)]
    facts = [
        f"{len(tiles)} tiles in {rows} rows and {columns} columns",
        f"{len(labelled)} labelled",
        f"{len(tiles) - len(labelled)} test",
    ]
    if len(labelled):
        facts.append(f"labelled tiles score {run.labelled.scores[labelled].mean():.2f}")
    return " · ".join(facts)


def _paint_tile(
    image: np.ndarray, truth: np.ndarray | None, decision: np.ndarray, frame: int, side: int
) -> np.ndarray:
    picture = _framed(_shades(_resized(image, side)), frame)
    for mask, ink, width in (
        (truth, TRUTH_INK, TRUTH_WIDTH),
        (decision, PREDICTION_INK, PREDICTION_WIDTH),
    ):
        if mask is not None:
            inside = _resized(np.asarray(mask, np.uint8) * 255, side) >= 128
            picture[boundary(inside, width)] = ink
    return picture


def _framed(picture: np.ndarray, ink: int) -> np.ndarray:
    """Draw the seams above and left of a tile, and all four sides of a labelled one."""
    framed = picture.copy()
    framed[0] = framed[:, 0] = ink
    if ink == LABELLED_INK:
        framed[-1] = framed[:, -1] = ink
    return framed


def _shades(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels / 255 * (SHADES - 1)).astype(np.uint8)


def _resized(tile: np.ndarray, side: int) -> np.ndarray:
    """Return a uint8 tile with sides of `side` pixels, averaging where it shrinks."""
    from PIL import Image

    whole = Image.fromarray(np.ascontiguousarray(tile))
    return np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR))


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Put pictures in a line along an axis, gaps between them and wherever one is shorter."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    parts = []
    for picture in pictures:
        padding = [(0, 0), (0, 0)]
        padding[1 - axis] = (0, across - picture.shape[1 - axis])
        padding[axis] = (0, SHEET_GAP)
        parts.append(np.pad(picture, padding, constant_values=GAP_INK))
    return np.concatenate(parts, axis=axis)


if __name__ == "__main__":
    with reported_errors():
        main(sys.argv[1:])

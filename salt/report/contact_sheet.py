"""Draw the demo survey as one small picture: `python -m salt.report.contact_sheet OUT.png`.

Reads the demo survey in data/ingest/.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from salt.errors import StoreError, reported_errors
from salt.files import replacing
from salt.sources.demo import COLUMNS, ROWS
from salt.store import TileStore, open_store

SECTIONS = 6
STRIP = 2 * COLUMNS
GREYS = 28  # few levels keep the file small
OUTLINE = (255, 96, 32)
GAP = 4  # pixels


def main() -> None:
    """Write the contact sheet to the path given on the command line."""
    parser = argparse.ArgumentParser(description="Draw the demo survey as one small picture.")
    parser.add_argument("picture", type=Path, help="PNG to write, such as docs/demo-survey.png")
    picture = parser.parse_args().picture
    sheet = draw_sheet(_demo_store(Path("data/ingest")))
    with replacing(picture) as part:
        _with_few_colours(sheet).save(part, format="PNG", optimize=True)


def draw_sheet(store: TileStore) -> np.ndarray:
    """Return the picture, uint8 [H, W, 3].

    Each row shows stitched sections of two labelled blocks, first plain and then with the
    salt outlined; a strip at the bottom shows single tiles as a network sees them.
    """
    volumes = store.labelled["volume"].drop_duplicates().sort_values().iloc[:SECTIONS]
    rows = [_pair(*stitch(store, int(volume))) for volume in volumes]
    tiles = np.linspace(0, len(store.masks) - 1, STRIP).astype(int)
    width = rows[0].shape[1]
    strip = _beside([_rgb(store.images[row]) for row in tiles])[:, :width]
    return _stacked([*rows, strip])


def stitch(store: TileStore, volume: int) -> tuple[np.ndarray, np.ndarray]:
    """Put the tiles of a labelled block's first inline together; image and mask [Z, X]."""
    table = store.labelled
    section = table[table["volume"].eq(volume) & table["inline"].eq(0)]
    rows = section.sort_values(["sample", "crossline"])["row"].to_numpy()

    def joined(tiles: np.ndarray) -> np.ndarray:
        side = tiles.shape[-1]
        grid = tiles[rows].reshape(ROWS, COLUMNS, side, side)
        return grid.swapaxes(1, 2).reshape(ROWS * side, COLUMNS * side)

    return joined(store.images), joined(store.masks)


def _demo_store(ingested: Path) -> TileStore:
    if not (ingested / "kaggle" / "geometry.csv").exists():
        raise StoreError(
            f"{ingested} holds no demo survey; expected what ingest makes for data.source demo. "
            "Run `python -m salt.profiles demo && dvc repro ingest` first."
        )
    return open_store(ingested)


def _pair(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    outlined = _rgb(image)
    edge = np.zeros(mask.shape, dtype=bool)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    outlined[edge] = OUTLINE
    return _beside([_rgb(image), outlined])


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(image)[..., None], 3, axis=-1)


def _beside(pictures: list[np.ndarray]) -> np.ndarray:
    gap = np.full((len(pictures[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    width = max(row.shape[1] for row in rows)
    padding = ((0, GAP), (0, 0), (0, 0))
    filled = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate([np.pad(row, padding, constant_values=255) for row in filled])


def _with_few_colours(sheet: np.ndarray) -> Image.Image:
    is_outline = (sheet == OUTLINE).all(axis=2)
    grey = np.rint(sheet[..., 0] / 255 * (GREYS - 1)).astype(np.uint8)
    picture = Image.fromarray(np.where(is_outline, np.uint8(GREYS), grey))
    levels = [round(level * 255 / (GREYS - 1)) for level in range(GREYS)]
    picture.putpalette([value for level in levels for value in (level,) * 3] + list(OUTLINE))
    return picture


if __name__ == "__main__":
    with reported_errors():
        main()

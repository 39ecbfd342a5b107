"""From raw input to the tile store: all of it is read and checked before anything is written."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.errors import InputError
from salt.files import replacing, write_csv
from salt.sources.tgs import KaggleSurvey, open_kaggle
from salt.store import COLUMNS, TILE_SIZE, TRAIN, coverage_class, is_vertical, write_store

NEIGHBOURS = "neighbours.csv"


def ingest(raw: Path, out: Path, tile_format: str) -> None:
    """Read a data set in Kaggle's layout and write the tile store and sample_submission.csv.

    Args:
        raw: folder with the tables and the pictures, packed or not (see `salt.sources.tgs`).
        out: folder for the store; untouched if the input is refused.
        tile_format: `native` or `upscaled_202` (see `salt.sources.tile_format`).

    Raises:
        InputError: anything in the input is missing, malformed or contradictory.
    """
    with open_kaggle(raw, tile_format) as survey:
        images, masks, ignore = _read_tiles(survey)
    _check_salt_remains(raw, masks, ignore)
    table = _describe(survey.tiles, images, masks, ignore)
    summary = _summarise(table, ignore, survey.mask_origins, tile_format)
    write_csv(out / "sample_submission.csv", survey.sample)
    write_store(out, table, images, masks, ignore, summary)


def keep_neighbours(raw: Path, out: Path) -> None:
    """Copy a user's neighbours.csv into the store's folder, as it is.

    Without one a table without rows is written: the index stage depends on the file whether
    or not it reads it, and DVC cannot depend on a file that need not exist.
    """
    given = raw / NEIGHBOURS
    content = given.read_bytes() if given.is_file() else b"id,left,right,up,down\n"
    with replacing(out / NEIGHBOURS) as part:
        part.write_bytes(content)


def _read_tiles(survey: KaggleSurvey) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images uint8 [n, 101, 101], masks and ignore uint8 [labelled, 101, 101]."""
    tiles = survey.tiles
    labelled = int(tiles["split"].eq(TRAIN).sum())
    images = np.empty((len(tiles), TILE_SIZE, TILE_SIZE), np.uint8)
    masks, ignore = np.empty((2, labelled, TILE_SIZE, TILE_SIZE), np.uint8)
    rows = zip(tiles["split"], tiles["id"], strict=True)
    progress = tqdm(rows, total=len(tiles), desc="ingest", unit="tile", mininterval=1.0)
    for row, (split, name) in enumerate(progress):
        images[row] = survey.image(split, name)
        if row < labelled:
            masks[row], ignore[row] = survey.label(name)
    return images, masks, ignore


def _check_salt_remains(raw: Path, masks: np.ndarray, ignore: np.ndarray) -> None:
    if ignore.any() and not masks.any():
        raise InputError(
            f"{raw}: no salt in any mask, and {int(ignore.sum())} ignored pixels; expected salt up "
            "to 254, as 255 means ignored. If 255 stands for salt here, save it as 254."
        )


def _describe(
    tiles: pd.DataFrame, images: np.ndarray, masks: np.ndarray, ignore: np.ndarray
) -> pd.DataFrame:
    """Return the store's table: `COLUMNS`, then what else the source knows of a tile."""
    count, labelled = len(tiles), len(masks)
    seen = (ignore == 0).sum(axis=(1, 2))
    salt_fraction = np.full(count, np.nan)
    salt_fraction[:labelled] = masks.sum(axis=(1, 2)) / np.maximum(seen, 1)
    coverage = np.full(count, -1)
    coverage[:labelled] = coverage_class(salt_fraction[:labelled])
    vertical = np.zeros(count, dtype=bool)
    vertical[:labelled] = [is_vertical(mask) for mask in masks]
    table = tiles.assign(
        row=np.arange(count),
        salt_fraction=salt_fraction,
        coverage_class=coverage,
        is_constant=images.min(axis=(1, 2)) == images.max(axis=(1, 2)),
        is_vertical=vertical,
        sha256=[hashlib.sha256(image.tobytes()).hexdigest() for image in images],
    )
    return table[[*COLUMNS, *(name for name in tiles if name not in COLUMNS)]]


def _summarise(
    table: pd.DataFrame, ignore: np.ndarray, mask_origins: list[str], tile_format: str
) -> dict[str, Any]:
    labelled = table[table["split"] == TRAIN]
    return {
        "tiles": len(table),
        "labelled": len(labelled),
        "unlabelled": len(table) - len(labelled),
        "without_salt": int(labelled["salt_fraction"].eq(0).sum()),
        "constant_labelled": int(labelled["is_constant"].sum()),
        "constant_unlabelled": int(table["is_constant"].sum() - labelled["is_constant"].sum()),
        "vertical": int(labelled["is_vertical"].sum()),
        "without_depth": int(table["depth"].isna().sum()),
        "ignored_pixels": int(ignore.sum()),
        "masks_from": mask_origins,
        "tile_format": tile_format,
    }

"""Labelled synthetic tiles that look like a given data set's: one fresh model per tile."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from salt.errors import InputError
from salt.files import write_csv
from salt.seeding import derive_seed, generator
from salt.store import COLUMNS, TILE_SIZE, TRAIN, coverage_class, is_vertical, write_store
from salt.synthesis.block import draw_block

EMPTY_SHARE = 0.38  # of tiles without salt; TGS has 0.39
PLATEAU = 0.15  # share of pixels of one grey level: muted water, not a distribution to copy


def synthesize(reference: np.ndarray, out: Path, *, tiles: int, seed: int) -> None:
    """Write a store of physics-based tiles, matched in amplitude to real ones.

    Each tile is cut from a 3-D model of its own and takes over the grey-level distribution
    of a randomly chosen reference tile.

    Args:
        reference: images uint8 [n, 101, 101] to match; flat or mostly muted ones are left out.
        out: receives a tile store (all of split `train`, ids syn_00000 ...) and
            provenance.csv (id, seed, reference_row and what the model's draw came to).
        tiles: how many; 0 writes an empty store.
        seed: root of every random stream.

    Raises:
        InputError: tiles are asked for, but no reference tile has amplitudes to match.
    """
    images = np.zeros((tiles, TILE_SIZE, TILE_SIZE), np.uint8)
    masks = np.zeros_like(images)
    provenance = []
    rows = _pick_references(reference, tiles, seed)
    is_empty = _spread_empty(tiles, seed)
    for index in tqdm(range(tiles), desc="synthesize", unit="tile", mininterval=1.0):
        tile_seed = derive_seed(seed, "synthesize", index)
        block = draw_block(
            tile_seed, inlines=1, rows=1, columns=1, empty_tiles=int(is_empty[index])
        )
        images[index] = match_amplitudes(block.images[0], reference[rows[index]])
        masks[index] = block.masks[0]
        provenance.append({"seed": tile_seed, "reference_row": rows[index], **block.parameters})
    table = _describe(images, masks)
    summary = {"tiles": tiles, "without_salt": int((table["salt_fraction"] == 0).sum())}
    write_csv(out / "provenance.csv", _join_provenance(table["id"], provenance))
    write_store(out, table, images, masks, np.zeros_like(masks), summary)


def match_amplitudes(tile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Give a tile the grey-level distribution of another by matching quantiles, uint8 to uint8.

    The mapping is monotonic, so brighter stays brighter.
    """
    counts = np.bincount(tile.ravel(), minlength=256)
    middle_rank = (np.cumsum(counts) - 0.5 * counts) / tile.size
    levels = np.quantile(reference, middle_rank.clip(0, 1))
    return np.rint(levels).astype(np.uint8)[tile]


def _pick_references(reference: np.ndarray, tiles: int, seed: int) -> np.ndarray:
    if tiles == 0:
        return np.empty(0, dtype=np.int64)
    commonest = [np.bincount(image.ravel()).max() / image.size for image in reference]
    usable = np.flatnonzero(np.array(commonest) < PLATEAU)
    if len(usable) == 0:
        raise InputError(
            f"each of {len(reference)} reference tiles is flat or mostly muted; expected training "
            "images to match amplitudes to. Check the raw images, or set synthesize.tiles to 0."
        )
    return generator(seed, "synthesize", "reference").choice(usable, size=tiles)


def _spread_empty(tiles: int, seed: int) -> np.ndarray:
    """Return bool [tiles] with the share of empty ones exact to a tile, in random places."""
    is_empty = np.arange(tiles) < round(EMPTY_SHARE * tiles)
    return generator(seed, "synthesize", "empty").permutation(is_empty)


def _describe(images: np.ndarray, masks: np.ndarray) -> pd.DataFrame:
    count = len(images)
    salt_fraction = masks.sum(axis=(1, 2)) / TILE_SIZE**2
    return pd.DataFrame(
        {
            "id": [f"syn_{index:05d}" for index in range(count)],
            "split": TRAIN,
            "row": np.arange(count),
            "depth": np.full(count, np.nan),
            "salt_fraction": salt_fraction,
            "coverage_class": coverage_class(salt_fraction),
            "is_constant": images.max(axis=(1, 2)) == images.min(axis=(1, 2)),
            "is_vertical": np.array([is_vertical(mask) for mask in masks], dtype=bool),
            "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
        },
        columns=COLUMNS,
    )


def _join_provenance(ids: pd.Series, records: list[dict[str, Any]]) -> pd.DataFrame:
    columns = None if records else ["seed", "reference_row"]
    table = pd.DataFrame(records, columns=columns)
    table.insert(0, "id", ids)
    return table

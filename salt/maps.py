"""Probability and uncertainty maps on disk, as one stage writes them and later ones read them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salt.errors import StoreError
from salt.files import read_array, read_csv

LN2 = float(np.log(2))
MAXIMA = {"variance": 0.25, "entropy": LN2, "mutual_information": LN2}
"""Largest possible value of each uncertainty map; stored as uint8 = 255 * value / maximum."""


@dataclass(frozen=True)
class FoldMaps:
    """One part of one fold's uncertainty stage, memory-mapped; see `salt.infer.uncertainty`."""

    ids: list[str]
    mean: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray
    presence: np.ndarray


def open_maps(folder: Path, part: str) -> FoldMaps:
    """Open `part` (`oof` or `test`) of a fold's maps.

    Raises:
        StoreError: a file is missing, or the files disagree.
    """
    table = read_csv(folder / f"{part}_tiles.csv")
    arrays = {
        name: read_array(folder / f"{part}_{name}.npy")
        for name in ("mean", "entropy", "mutual_information")
    }
    lengths = {name: len(array) for name, array in arrays.items()}
    if set(lengths.values()) != {len(table)} or table["id"].duplicated().any():
        raise StoreError(
            f"{folder}: {len(table)} rows in {part}_tiles.csv and maps of {lengths} tiles; "
            "expected one map per unique id. Rerun the uncertainty stage with `dvc repro -f`."
        )
    return FoldMaps(list(table["id"]), presence=table["presence"].to_numpy(np.float32), **arrays)


def open_probability(folder: Path, part: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Open PART_probability.npy with PART_tiles.csv: (ids, float16 [n, S, S], presence [n]).

    Raises:
        StoreError: a file is missing, or the files disagree.
    """
    table = read_csv(folder / f"{part}_tiles.csv")
    probability = read_array(folder / f"{part}_probability.npy")
    if len(probability) != len(table) or table["id"].duplicated().any():
        raise StoreError(
            f"{folder}: {len(table)} rows in {part}_tiles.csv and {len(probability)} maps; "
            "expected one map per unique id. Rerun the stage with `dvc repro -f`."
        )
    return list(table["id"]), probability, table["presence"].to_numpy(np.float32)

"""Maps that stages wrote, opened and checked against the tiles they belong to.

They stay on disk: what comes back reads the tiles asked for, in the store's order, however
a stage spread them over folds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from salt.errors import StoreError
from salt.files import read_array, read_csv


@dataclass(frozen=True)
class TileMaps:
    """One map per tile, in the order of the ids it was opened for.

    Attributes:
        parts: memory-mapped arrays [n_p, H, W].
        part: index into `parts` of each tile [n].
        row: row within its part of each tile [n].
        table: the rows of the parts' tables, in the tiles' order.
    """

    parts: tuple[np.ndarray, ...]
    part: np.ndarray
    row: np.ndarray
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.row)

    def read(self, tiles: np.ndarray) -> np.ndarray:
        """Return the maps of these tiles, [k, H, W] in their stored type."""
        first = self.parts[0]
        maps = np.empty((len(tiles), *first.shape[1:]), first.dtype)
        for number, part in enumerate(self.parts):
            chosen = np.flatnonzero(self.part[tiles] == number)
            maps[chosen] = part[self.row[tiles[chosen]]]
        return maps

    def presence(self, tiles: np.ndarray) -> np.ndarray:
        """Return the tiles' probabilities of holding any salt, float64 [k], NaN if unknown."""
        return self.table["presence"].to_numpy(np.float64)[tiles]


def open_tile_maps(sources: list[tuple[Path, Path]], ids: pd.Series) -> TileMaps:
    """Open (array, table) pairs that together hold each of `ids` exactly once.

    Raises:
        StoreError: a file is missing, an array and its table differ in length, or an id
            is doubled, missing or unknown.
    """
    arrays = tuple(read_array(array) for array, _ in sources)
    tables = [read_csv(table) for _, table in sources]
    for (path, listing), array, table in zip(sources, arrays, tables, strict=True):
        if len(array) != len(table):
            raise StoreError(
                f"{path}: {len(array)} maps, but {listing} has {len(table)} rows; expected one "
                f"map per row. Delete {path.parent} and run `dvc repro`."
            )
    together = pd.concat(tables, ignore_index=True)
    names = " and ".join(str(table) for _, table in sources)
    order = rows_in_order(together["id"], ids, names)
    part = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    row = np.concatenate([np.arange(len(table)) for table in tables])
    return TileMaps(arrays, part[order], row[order], together.iloc[order].reset_index(drop=True))


def read_in_order(path: Path, ids: pd.Series) -> pd.DataFrame:
    """Read a table that has one row for each of `ids`, and return it in their order.

    Raises:
        StoreError: no such file, or an id is doubled, missing or unknown.
    """
    table = read_csv(path)
    return table.iloc[rows_in_order(table["id"], ids, str(path))].reset_index(drop=True)


def rows_in_order(found: pd.Series, ids: pd.Series, origin: str) -> np.ndarray:
    """Return the position in `found` of each of `ids`; `origin` names the files in messages.

    Raises:
        StoreError: `found` is not a permutation of `ids`.
    """
    remedy = "Run `dvc repro`; if it repeats, delete the stage's folder first."
    doubled = found[found.duplicated()]
    if len(doubled):
        raise StoreError(
            f"{origin}: id {doubled.iloc[0]!r} occurs more than once; expected every tile once. "
            + remedy
        )
    order = pd.Index(found).get_indexer(pd.Index(ids))
    missing = ids[order < 0]
    if len(missing) or len(found) != len(ids):
        unknown = found[~found.isin(ids)]
        if len(missing):
            problem = f"without {missing.iloc[0]!r}"
        else:
            problem = f"with {unknown.iloc[0]!r}, which the tile store has not"
        raise StoreError(
            f"{origin}: {len(found)} tiles {problem}; expected exactly the {len(ids)} tiles of "
            "data/ingest. " + remedy
        )
    return order

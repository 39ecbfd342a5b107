"""Neighbours that a user brings, held to what the jigsaw's own result fulfils.

    id,left,right,up,down[,mosaic,row,column]      blank where there is none

Every edge is told from both of its tiles, a tile lies in one place, a place holds one tile.
Tiles that the table leaves out lie alone. Without mosaic, row and column the edges say where
tiles lie; tiles that come to touch are neighbours, whether or not the table says so.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from salt.errors import InputError
from salt.files import read_csv
from salt.neighbours.jigsaw import Jigsaw
from salt.neighbours.mosaics import ID_COLUMNS, PLACE
from salt.neighbours.sections import ACROSS, DOWN, SIDES, Cells, lay_out, neighbours_of

OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
REMEDY = "Mend neighbours.csv in the folder data.raw, or set index.neighbours to jigsaw."

Places = list[tuple[int, int, int]]  # mosaic, row and column of each tile


def read_given(path: Path, ids: pd.Series) -> Jigsaw:
    """Return the neighbours in a table, of the tiles `ids` and in their order.

    Raises:
        InputError: the table has no rows, lacks a column, repeats an id or names one that is
            not in `ids`; an edge is told from one side only; a tile would lie in two places,
            or two tiles in one; or the places contradict the edges.
    """
    table = _read_table(path, ids)
    sides = _rows_beside(path, table, ids)
    _require_both_ways(path, sides, ids)
    is_placed = set(PLACE) <= set(table.columns)
    places = _read_places(path, table) if is_placed else _walk(sides)
    _require_agreement(path, sides, places, ids)
    layout = lay_out(_cells(path, places, ids), len(ids))
    sides = neighbours_of(layout)
    return Jigsaw(layout, sides, _seams(sides))


def _read_table(path: Path, ids: pd.Series) -> pd.DataFrame:
    """Return the table with one row for each of `ids`, all blank where it has none."""
    table = read_csv(path, (*ID_COLUMNS, *PLACE))
    if not len(table):
        raise InputError(
            f"{path}: no rows; expected id, {', '.join(SIDES)} of the tiles, because "
            "index.neighbours is given. Put neighbours.csv into the folder data.raw, or set "
            "index.neighbours to jigsaw."
        )
    missing = [name for name in ("id", *SIDES) if name not in table.columns]
    placed = [name for name in PLACE if name in table.columns]
    if missing or len(placed) not in (0, len(PLACE)):
        missing += [name for name in PLACE if placed and name not in placed]
        raise InputError(
            f"{path}: no column {missing[0]!r}; expected id, {', '.join(SIDES)} and, all three or "
            f"none, {', '.join(PLACE)}. {REMEDY}"
        )
    doubled = table["id"][table["id"].duplicated()]
    if len(doubled):
        raise InputError(f"{path}: id {doubled.iloc[0]!r} comes twice; expected it once. {REMEDY}")
    for name in ("id", *SIDES):
        unknown = table[name][~table[name].isin(ids) & ((table[name] != "") | (name == "id"))]
        if len(unknown):
            raise InputError(
                f"{path}: {len(unknown)} names in column {name!r} are of no tile (first: "
                f"{unknown.iloc[0]!r}); expected ids of the tile store. {REMEDY}"
            )
    return table.set_index("id").reindex(ids, fill_value="").rename_axis("id").reset_index()


def _rows_beside(path: Path, table: pd.DataFrame, ids: pd.Series) -> dict[str, np.ndarray]:
    """Return the row of each tile's neighbours, int64 [n] by side, -1 where none."""
    sides = {side: pd.Index(ids).get_indexer(pd.Index(table[side])) for side in SIDES}
    for side, rows in sides.items():
        selfish = np.flatnonzero(rows == np.arange(len(ids)))
        if len(selfish):
            raise InputError(
                f"{path}: tile {ids.iloc[selfish[0]]!r} has itself as its neighbour {side}; "
                f"expected another tile. {REMEDY}"
            )
    return sides


def _require_both_ways(path: Path, sides: dict[str, np.ndarray], ids: pd.Series) -> None:
    for side, rows in sides.items():
        named = np.flatnonzero(rows >= 0)
        back = sides[OPPOSITE[side]][rows[named]]
        one_sided = named[back != named]
        if len(one_sided):
            tile, other = one_sided[0], rows[one_sided[0]]
            answer = sides[OPPOSITE[side]][other]
            told = repr(ids.iloc[answer]) if answer >= 0 else "nothing"
            raise InputError(
                f"{path}: {side} of {ids.iloc[tile]!r} is {ids.iloc[other]!r}, but "
                f"{OPPOSITE[side]} of {ids.iloc[other]!r} is {told}; expected each edge in both "
                f"of its tiles' rows. {REMEDY}"
            )


def _read_places(path: Path, table: pd.DataFrame) -> Places:
    """Return the places in the table; a tile without mosaic lies alone."""
    mosaic = pd.factorize(table["mosaic"])[0] + len(table)  # numbers no lone tile has
    alone = (table["mosaic"] == "").to_numpy()
    mosaic[alone] = np.flatnonzero(alone)
    numbers = table[["row", "column"]].apply(pd.to_numeric, errors="coerce")
    cells = numbers.to_numpy(np.float64, copy=True)
    cells[alone] = 0
    broken = np.flatnonzero((np.floor(cells) != cells).any(axis=1) | ~np.isfinite(cells).all(1))
    if len(broken):
        row = table.iloc[broken[0]]
        raise InputError(
            f"{path}: tile {row['id']!r} lies in row {row['row']!r} and column {row['column']!r}; "
            f"expected whole numbers wherever there is a mosaic. {REMEDY}"
        )
    return list(zip(mosaic.tolist(), *cells.astype(np.int64).T.tolist(), strict=True))


def _walk(sides: dict[str, np.ndarray]) -> Places:
    """Follow the edges from the first tile of each mosaic; contradictions are left as they are."""
    beside = {side: rows.tolist() for side, rows in sides.items()}
    places: dict[int, tuple[int, int, int]] = {}
    for start in range(len(beside["left"])):
        if start in places:
            continue
        places[start] = (start, 0, 0)
        waiting = [start]
        while waiting:
            tile = waiting.pop()
            mosaic, row, column = places[tile]
            for side, (rows, columns) in SIDES.items():
                other = beside[side][tile]
                if other >= 0 and other not in places:
                    places[other] = (mosaic, row + rows, column + columns)
                    waiting.append(other)
    return [places[tile] for tile in range(len(places))]


def _require_agreement(
    path: Path, sides: dict[str, np.ndarray], places: Places, ids: pd.Series
) -> None:
    where = np.array(places)
    for side, (rows, columns) in SIDES.items():
        named = np.flatnonzero(sides[side] >= 0)
        others = sides[side][named]
        astray = np.flatnonzero((where[others] != where[named] + (0, rows, columns)).any(axis=1))
        if len(astray):
            tile, other = ids.iloc[named[astray[0]]], ids.iloc[others[astray[0]]]
            raise InputError(
                f"{path}: {side} of {tile!r} is {other!r}, which other edges or the columns "
                f"{', '.join(PLACE)} put elsewhere; expected one place for each tile. {REMEDY}"
            )


def _cells(path: Path, places: Places, ids: pd.Series) -> list[Cells]:
    mosaics: dict[int, Cells] = {}
    for tile, (mosaic, row, column) in enumerate(places):
        cells = mosaics.setdefault(mosaic, {})
        if (row, column) in cells:
            raise InputError(
                f"{path}: tiles {ids.iloc[cells[row, column]]!r} and {ids.iloc[tile]!r} lie in "
                f"one place; expected one tile there. {REMEDY}"
            )
        cells[row, column] = tile
    return list(mosaics.values())


def _seams(sides: dict[str, np.ndarray]) -> pd.DataFrame:
    """List the neighbours as `Jigsaw.seams`; what the user says is certain."""
    tables = []
    for axis, side in ((ACROSS, "right"), (DOWN, "down")):
        first = np.flatnonzero(sides[side] >= 0)
        columns = {"first": first, "second": sides[side][first], "axis": axis, "confidence": 1.0}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)

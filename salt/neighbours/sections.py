"""Lay tiles out as mosaics: strongest seams first, one tile a cell, every seam accounted for.

Joining two mosaics at one seam makes further seams wherever their cells come to touch. The
join is made if the log-odds of its seam and the evidence of all others together reach a level
that falls in steps, so that good seams place tiles before doubtful ones can. A join that would
put two tiles into one cell is refused. So three sides of a loop bring in the fourth, and a
doubtful seam that contradicts good ones goes. Neighbours are then read off the grid: left and
right, up and down always agree, and no tile has two neighbours on one side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

LEVELS = (9.0, 7.0, 5.0, 4.0, 3.0, 2.0)  # log-odds asked of a join, one pass after another
LEAST_LINK = -8.0  # log-odds a seam must have for a join to be tried at it
ACROSS, DOWN = 0, 1
STEPS = ((0, 1), (1, 0))  # rows, columns from a tile to its successor, by axis
SIDES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}

Cells = dict[tuple[int, int], int]  # tile by (row, column)


class SeamJudge(Protocol):
    """Whatever tells the log-odds of seams, in addition to the one a join is made at."""

    def closing_evidence(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the log-odds of each pair (first, second), [p]."""


@dataclass(frozen=True)
class Links:
    """Seams at which mosaics may be joined, all [p]: tiles, axis, log-odds."""

    first: np.ndarray
    second: np.ndarray
    axis: np.ndarray
    log_odds: np.ndarray


@dataclass(frozen=True)
class Layout:
    """Where each tile lies: mosaic, row and column, int64 [n]; a lone tile is a mosaic.

    Mosaics are numbered by falling size, then by their first tile; rows and columns start at 0.
    """

    mosaic: np.ndarray
    row: np.ndarray
    column: np.ndarray


def assemble(count: int, links: Links, judges: tuple[SeamJudge, SeamJudge]) -> Layout:
    """Join `count` tiles into mosaics; `judges` are those of the axes ACROSS and DOWN."""
    pieces = _Pieces(count, judges)
    waiting = _best_first(links)
    for level in LEVELS:
        tried = -1
        while tried != len(waiting):  # each join may bring the evidence that another lacked
            tried = len(waiting)
            waiting = [link for link in waiting if not pieces.settles(*link, level)]
    return lay_out(pieces.tiles.values(), count)


def lay_out(mosaics: Iterable[Cells], count: int) -> Layout:
    """Number mosaics that together hold `count` tiles, and count their cells from 0."""
    order = sorted(mosaics, key=lambda cells: (-len(cells), min(cells.values())))
    layout = Layout(*(np.zeros(count, np.int64) for _ in range(3)))
    for number, cells in enumerate(order):
        top, left = min(row for row, _ in cells), min(column for _, column in cells)
        for (row, column), tile in cells.items():
            layout.mosaic[tile] = number
            layout.row[tile], layout.column[tile] = row - top, column - left
    return layout


def neighbours_of(layout: Layout) -> dict[str, np.ndarray]:
    """Read left, right, up and down neighbours off the grid: int64 [n] each, -1 where none."""
    places = zip(layout.mosaic.tolist(), layout.row.tolist(), layout.column.tolist(), strict=True)
    tile_at = {place: tile for tile, place in enumerate(places)}
    return {
        side: np.array(
            [tile_at.get((mosaic, r + rows, c + columns), -1) for mosaic, r, c in tile_at],
            np.int64,
        )
        for side, (rows, columns) in SIDES.items()
    }


def _best_first(links: Links) -> list[tuple[int, int, int, float]]:
    usable = np.flatnonzero(links.log_odds > LEAST_LINK)
    fields = (links.first, links.second, links.axis, links.log_odds)
    first, second, axis, log_odds = (field[usable] for field in fields)
    order = np.lexsort((second, first, axis, -log_odds))
    columns = (field[order].tolist() for field in (first, second, axis, log_odds))
    return list(zip(*columns, strict=True))


class _Pieces:
    """Mosaics under construction: tiles by cell and cells by tile."""

    def __init__(self, count: int, judges: tuple[SeamJudge, SeamJudge]) -> None:
        self.piece = list(range(count))
        self.cell = [(0, 0)] * count
        self.tiles: dict[int, Cells] = {tile: {(0, 0): tile} for tile in range(count)}
        self.judges = judges

    def settles(self, first: int, second: int, axis: int, log_odds: float, level: float) -> bool:
        """Join two tiles' pieces if the evidence reaches `level`; tell if the link is done with.

        It is when both tiles lie in one piece: nothing can move them against each other.
        """
        kept, moved = self.piece[first], self.piece[second]
        if kept == moved:
            return True
        rows, columns = self._shift(first, second, axis)
        if len(self.tiles[kept]) < len(self.tiles[moved]):
            kept, moved, rows, columns = moved, kept, -rows, -columns
        cells = {(r + rows, c + columns): tile for (r, c), tile in self.tiles[moved].items()}
        if not self.tiles[kept].keys().isdisjoint(cells):
            return False
        if log_odds + self._other_evidence(self.tiles[kept], cells, (first, second)) < level:
            return False
        self._join(kept, moved, cells)
        return True

    def _shift(self, first: int, second: int, axis: int) -> tuple[int, int]:
        """Return rows and columns that take second's piece into the grid of first's."""
        (row, column), (own_row, own_column) = self.cell[first], self.cell[second]
        return row + STEPS[axis][0] - own_row, column + STEPS[axis][1] - own_column

    def _other_evidence(self, placed: Cells, cells: Cells, link: tuple[int, int]) -> float:
        """Return the summed evidence of all seams between two pieces other than `link`."""
        total = 0.0
        for (rows, columns), judge in zip(STEPS, self.judges, strict=True):
            pairs = []
            for (row, column), tile in cells.items():
                pairs.append((placed.get((row - rows, column - columns), -1), tile))
                pairs.append((tile, placed.get((row + rows, column + columns), -1)))
            pairs = [pair for pair in pairs if -1 not in pair and pair != link]
            if pairs:
                first, second = np.array(pairs).T
                total += float(judge.closing_evidence(first, second).sum())
        return total

    def _join(self, kept: int, moved: int, cells: Cells) -> None:
        for cell, tile in cells.items():
            self.piece[tile], self.cell[tile] = kept, cell
        self.tiles[kept].update(cells)
        del self.tiles[moved]

"""Lay matched tiles out as sections: a grid each, in which every seam must fit.

Candidates are taken by falling margin. One that joins two pieces is taken if no cell would
hold two tiles and all seams that come to touch agree: a lone seam needs a clear margin, while
several seams (closed loops) vouch for each other. Neighbours are then read off the grid, so
left/right and up/down always agree with each other and no tile has two neighbours on a side.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from salt.neighbours.edges import seam_edges

SURE_MARGIN = 0.5  # a lone seam must be twice as close as the second best
SIMILAR = 0.75  # mean correlation over several seams that join two pieces
WORST = 0.3  # no single seam may correlate less

STEP = {0: (1, 0), 1: (0, 1)}  # axis -> (rows, columns) from a tile to its successor


@dataclass(frozen=True)
class Layout:
    """Where each tile lies: mosaic, row and column, int64 [n]; a lone tile is a mosaic."""

    mosaic: np.ndarray
    row: np.ndarray
    column: np.ndarray


class _Pieces:
    """Pieces of sections under construction: tiles by cell and cells by tile."""

    def __init__(self, images: np.ndarray) -> None:
        self.piece = np.arange(len(images))
        self.cell = np.zeros((len(images), 2), np.int64)
        self.tiles: dict[int, dict[tuple[int, int], int]] = {
            tile: {(0, 0): tile} for tile in range(len(images))
        }
        self.seams = {axis: seam_edges(images, axis) for axis in STEP}

    def similarity(self, first: int, second: int, axis: int) -> float:
        """Correlation on the seam between a tile and its successor; 0 if an edge is flat."""
        outgoing, incoming = self.seams[axis]
        return float(outgoing[first] @ incoming[second])

    def shift(self, first: int, second: int, axis: int) -> tuple[int, int]:
        """What takes the second tile's piece into the first one's grid."""
        target = self.cell[first] + STEP[axis] - self.cell[second]
        return int(target[0]), int(target[1])

    def touching(self, kept: int, moved: int, shift: tuple[int, int]) -> list[float] | None:
        """Similarities of all seams between two pieces, or None if they would overlap."""
        cells, seams = self.tiles[kept], []
        for (row, column), tile in self.tiles[moved].items():
            row, column = row + shift[0], column + shift[1]
            if (row, column) in cells:
                return None
            for axis, (down, right) in STEP.items():
                before = cells.get((row - down, column - right))
                after = cells.get((row + down, column + right))
                if before is not None:
                    seams.append(self.similarity(before, tile, axis))
                if after is not None:
                    seams.append(self.similarity(tile, after, axis))
        return seams

    def join(self, kept: int, moved: int, shift: tuple[int, int]) -> None:
        """Move one piece into another's grid."""
        for (row, column), tile in self.tiles.pop(moved).items():
            cell = (row + shift[0], column + shift[1])
            self.tiles[kept][cell] = tile
            self.cell[tile], self.piece[tile] = cell, kept


def lay_out(images: np.ndarray, candidates: pd.DataFrame) -> Layout:
    """Join tiles along candidate edges (see `edges.match_edges`, best first)."""
    pieces = _Pieces(images)
    rows = candidates[["first", "second", "axis", "margin"]].itertuples(index=False, name=None)
    for first, second, axis, margin in rows:
        kept, moved = int(pieces.piece[first]), int(pieces.piece[second])
        if kept == moved:
            continue
        shift = pieces.shift(first, second, axis)
        if len(pieces.tiles[moved]) > len(pieces.tiles[kept]):
            kept, moved, shift = moved, kept, (-shift[0], -shift[1])
        seams = pieces.touching(kept, moved, shift)
        if seams is not None and _agree(seams, margin):
            pieces.join(kept, moved, shift)
    return _numbered(pieces)


def _agree(seams: list[float], margin: float) -> bool:
    if min(seams) < WORST:
        return False
    return margin >= SURE_MARGIN or (len(seams) > 1 and float(np.mean(seams)) >= SIMILAR)


def _numbered(pieces: _Pieces) -> Layout:
    """Number mosaics by falling size (then by first tile) and start each grid at 0, 0."""
    order = sorted(pieces.tiles.values(), key=lambda cells: (-len(cells), min(cells.values())))
    layout = Layout(*(np.zeros(len(pieces.piece), np.int64) for _ in range(3)))
    for number, cells in enumerate(order):
        top, left = min(row for row, _ in cells), min(column for _, column in cells)
        for (row, column), tile in cells.items():
            layout.mosaic[tile] = number
            layout.row[tile], layout.column[tile] = row - top, column - left
    return layout


def adjacent(layout: Layout) -> dict[str, np.ndarray]:
    """Read left, right, up and down neighbours off the grid: int64 [n] each, -1 where none."""
    places = zip(layout.mosaic, layout.row, layout.column, strict=True)
    tile_at = {tuple(map(int, place)): tile for tile, place in enumerate(places)}
    offsets = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
    found = {name: np.full(len(layout.mosaic), -1, np.int64) for name in offsets}
    for (mosaic, row, column), tile in tile_at.items():
        for name, (down, right) in offsets.items():
            found[name][tile] = tile_at.get((mosaic, row + down, column + right), -1)
    return found

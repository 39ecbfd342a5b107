"""Real neighbours in the margins of tiles, where padding would invent pixels.

The tiles of a section were stretched in grey one by one, so a neighbour's pixels are brought to
the tile's own grey first: by the gain and the offset that give the neighbour's line of pixels
along the seam the mean and the deviation of the tile's own line on the seam's other side. One
line alone, because seismic is so smooth that these two nearly agree: wider strips hold other
layers (on halves of TGS tiles stretched apart, strips of 4 pixels doubled the error).
"""

from typing import Any, NamedTuple

import numpy as np

from salt.errors import StoreError

FLAT = 1.0  # grey levels; a line that deviates less says nothing about the gain
GAIN_LIMIT = 4.0  # either way; a larger gain would magnify rounding
LEFT, RIGHT, UP, DOWN = range(4)
# Cells of the 3x3 around a tile that touch one of its sides: own side, the neighbour's side.
SEAMS = {(1, 0): (LEFT, RIGHT), (1, 2): (RIGHT, LEFT), (0, 1): (UP, DOWN), (2, 1): (DOWN, UP)}
CORNERS = [(0, 0), (0, 2), (2, 0), (2, 2)]


def surrounding_tiles(mosaic: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the tile in each cell of the 3x3 around every tile: int64 [n, 3, 3], -1 where none.

    Args:
        mosaic, row, column: integers [n], where each tile lies; the first axis of the cells
            runs down the rows, the second along the columns, and [1, 1] is the tile itself.

    Raises:
        StoreError: two tiles lie in one cell.
    """
    places = list(zip(mosaic.tolist(), row.tolist(), column.tolist(), strict=True))
    tile_at = {place: tile for tile, place in enumerate(places)}
    if len(tile_at) < len(places):
        twice = next(place for tile, place in enumerate(places) if tile_at[place] != tile)
        raise StoreError(
            f"neighbours.csv puts two tiles into mosaic {twice[0]}, row {twice[1]}, column "
            f"{twice[2]}; expected one tile a cell. Mend the table or rerun the index stage."
        )
    around = [
        [tile_at.get((m, r + down, c + along), -1) for down in (-1, 0, 1) for along in (-1, 0, 1)]
        for m, r, c in places
    ]
    return np.array(around, np.int64).reshape(-1, 3, 3)


def seam_maps(tiles: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset, float32 [n, 3, 3], from each cell's grey to the tile's own.

    A corner's tile is matched to the neighbour it shares a seam with, and with that neighbour
    to the tile; where there are two such ways, they are averaged. Where a cell is empty or
    nothing ties it to the tile, gain is 1 and offset 0.

    Args:
        tiles: uint8 [n, S, S]; around: see `surrounding_tiles`.
    """
    edges = _edge_lines(tiles)
    gain, offset = np.ones(around.shape, np.float32), np.zeros(around.shape, np.float32)
    own = np.arange(len(tiles))
    for cell, sides in SEAMS.items():
        beside = around[:, *cell]
        there = beside >= 0
        match = _match(edges, own[there], beside[there], sides)
        gain[there, *cell], offset[there, *cell] = match
    for corner in CORNERS:
        _match_corner(edges, around, gain, offset, corner)
    return gain, offset


class _EdgeLines(NamedTuple):
    """Mean and deviation of each tile's outermost lines, float64 [n, 4] as LEFT ... DOWN."""

    mean: np.ndarray
    deviation: np.ndarray


def _edge_lines(tiles: np.ndarray) -> _EdgeLines:
    lines = (tiles[:, :, 0], tiles[:, :, -1], tiles[:, 0], tiles[:, -1])
    return _EdgeLines(
        np.stack([line.mean(axis=1) for line in lines], axis=1),
        np.stack([line.std(axis=1) for line in lines], axis=1),
    )


def _match(
    edges: _EdgeLines, own: np.ndarray, beside: np.ndarray, sides: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset [k] from the tiles `beside` to the tiles `own`."""
    wanted, found = edges.deviation[own, sides[0]], edges.deviation[beside, sides[1]]
    telling = (wanted >= FLAT) & (found >= FLAT)
    gain = np.where(telling, wanted / np.maximum(found, FLAT), 1.0)
    gain = gain.clip(1 / GAIN_LIMIT, GAIN_LIMIT)
    return gain, edges.mean[own, sides[0]] - gain * edges.mean[beside, sides[1]]


def _match_corner(
    edges: _EdgeLines,
    around: np.ndarray,
    gain: np.ndarray,
    offset: np.ndarray,
    corner: tuple[int, int],
) -> None:
    """Fill in gain and offset of one corner, from those of the cells beside it."""
    i, j = corner
    sums, count = np.zeros((2, len(around))), np.zeros(len(around))
    for between, sides in (((i, 1), SEAMS[1, j]), ((1, j), SEAMS[i, 1])):
        tied = np.flatnonzero((around[:, *between] >= 0) & (around[:, i, j] >= 0))
        first = _match(edges, around[tied, *between], around[tied, i, j], sides)
        scale, shift = gain[tied, *between], offset[tied, *between]
        sums[:, tied] += scale * first[0], scale * first[1] + shift
        count[tied] += 1
    some = count > 0
    gain[some, i, j], offset[some, i, j] = sums[:, some] / count[some]


class WidenedTiles:
    """Tiles that come with margins: indexing gives canvases wider than the tiles themselves.

    Stands where a plain array uint8 [n, S, S] of tiles may stand. Canvases are made when they
    are asked for, because all of them together are several times as large as the tiles.
    """

    def __init__(self, tiles: np.ndarray, around: np.ndarray, margins: tuple[int, int]) -> None:
        """Match all neighbours' greys.

        Args:
            tiles: uint8 [n, S, S], S at least the wider margin + 1.
            around: int64 [n, 3, 3], see `surrounding_tiles`. A corner counts only if a
                neighbour between it and the tile is there too; only then is its grey known.
            margins: pixels to add before and after, along both axes: P = before + S + after.
        """
        self.tiles, self.margins = tiles, margins
        self.around = _tied(around)
        self.gain, self.offset = seam_maps(tiles, self.around)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tiles themselves, [n, S, S]."""
        return self.tiles.shape

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return canvases uint8 [*rows.shape, P, P] of the tiles at integer `rows`.

        Neighbours' pixels in the tile's own grey where there are neighbours, the reflection
        of what lies inside elsewhere.
        """
        flat = rows.ravel()
        grey = self.gain[flat], self.offset[flat]
        canvas = _canvases(self.tiles, flat, self.around[flat], self.margins, grey, mode="reflect")
        return canvas.reshape(*rows.shape, *canvas.shape[1:])

    def labels(
        self, masks: np.ndarray, ignore: np.ndarray, row: int, label_at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mask and ignore mask uint8 [P, P] on one tile's canvas.

        Neighbours give their labels if they have any; the rest of the margin is ignored. Under
        it the mask is reflected, so that a distance to the salt's boundary does not take the
        seam for one.

        Args:
            masks, ignore: uint8 [m, S, S].
            label_at: int64 [n + 1], the place of each tile in `masks`, -1 where it has no
                label that may be used; its last item, which stands for no tile, is -1.
        """
        around = label_at[self.around[[row]]]
        where = (around[:, 1, 1], around, self.margins)
        mask = _canvases(masks, *where, mode="reflect")
        unknown = _canvases(ignore, *where, mode="constant", constant_values=1)
        return mask[0], unknown[0]

    def joined(self, others: np.ndarray) -> "WidenedTiles":
        """Return these tiles and behind them others, uint8 [k, S, S], without neighbours."""
        alone = np.full((len(others), 3, 3), -1, np.int64)
        alone[:, 1, 1] = len(self) + np.arange(len(others))
        both = np.concatenate([self.tiles, others])
        return WidenedTiles(both, np.concatenate([self.around, alone]), self.margins)


def _canvases(
    arrays: np.ndarray,
    own: np.ndarray,
    around: np.ndarray,
    margins: tuple[int, int],
    grey: tuple[np.ndarray, np.ndarray] | None = None,
    **elsewhere: Any,
) -> np.ndarray:
    """Return uint8 [b, P, P]: `arrays[own]`, in the margins what `around` names of `arrays`.

    The columns above and below are laid out first, so that an empty corner continues the
    neighbour beside it.

    Args:
        around: int64 [b, 3, 3], -1 where the margin is left to `elsewhere`, NumPy's way to pad.
        grey: gain and offset [b, 3, 3] for what is laid out.
    """
    before, after = margins
    size = arrays.shape[-1]
    onto = (slice(0, before), slice(before, before + size), slice(before + size, None))
    of = (slice(size - before, size), slice(0, size), slice(0, after))  # within a cell's tile

    def lay(block: np.ndarray, i: int, j: int) -> None:
        there = np.flatnonzero(around[:, i, j] >= 0)
        pixels = arrays[around[there, i, j], of[i], of[j]]
        if grey is not None:
            gain, offset = (part[there, i, j][:, None, None] for part in grey)
            pixels = np.rint(gain * pixels + offset).clip(0, 255)
        block[there] = pixels

    canvas = np.pad(arrays[own], ((0, 0), (before, after), (0, 0)), **elsewhere)
    for i in (0, 2):
        lay(canvas[:, onto[i]], i, 1)
    canvas = np.pad(canvas, ((0, 0), (0, 0), (before, after)), **elsewhere)
    for i, j in np.ndindex(3, 3):
        if j != 1:
            lay(canvas[:, onto[i], onto[j]], i, j)
    return canvas


def _tied(around: np.ndarray) -> np.ndarray:
    """Empty the corners that no neighbour ties to the tile."""
    tied = around.copy()
    for i, j in CORNERS:
        lone = (around[:, i, 1] < 0) & (around[:, 1, j] < 0)
        tied[lone, i, j] = -1
    return tied

"""Seismic-like pictures of known layout, cut into tiles."""

import numpy as np
from scipy.ndimage import gaussian_filter


def draw_section(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return band-limited layering with gentle dip, float [height, width]."""
    layers = gaussian_filter(draw.normal(size=(height, width)), (1.2, 2.5))
    layers -= gaussian_filter(layers, (4, 12))
    return layers / layers.std()


def cut(
    section: np.ndarray, size: tuple[int, int], picture: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return tiles [n, H, W] of a section and their places [n, 3]: picture, column, row."""
    height, width = size
    rows, columns = section.shape[0] // height, section.shape[1] // width
    tiles = section[: rows * height, : columns * width].reshape(rows, height, columns, width)
    row, column = np.divmod(np.arange(rows * columns), columns)
    places = np.stack([np.full(rows * columns, picture), column, row], axis=1)
    return tiles.swapaxes(1, 2).reshape(-1, height, width), places


def gained(tiles: np.ndarray, draw: np.random.Generator, noise: float = 0.0) -> np.ndarray:
    """Return uint8 tiles, each noisy and stretched by a gain and offset of its own."""
    noisy = tiles + noise * draw.normal(size=tiles.shape)
    gain = draw.uniform(20, 35, size=(len(tiles), 1, 1))
    offset = draw.uniform(110, 145, size=(len(tiles), 1, 1))
    return np.clip(noisy * gain + offset, 0, 255).astype(np.uint8)


def draw_puzzle(
    seed: int, sections: int = 2, size: tuple[int, int] = (32, 40), noise: float = 0.02
) -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled, gained tiles uint8 [n, H, W] of several sections and their places."""
    draw = np.random.default_rng(seed)
    cuts = [
        cut(draw_section(draw, 6 * size[0], 8 * size[1]), size, picture)
        for picture in range(sections)
    ]
    tiles, places = (np.concatenate(arrays) for arrays in zip(*cuts, strict=True))
    order = draw.permutation(len(tiles))
    return gained(tiles[order], draw, noise), places[order]

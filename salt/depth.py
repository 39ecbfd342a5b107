"""The depth of tiles, as a network is told it: one constant channel behind the stack."""

from dataclasses import dataclass

import numpy as np
import torch

from salt.errors import StoreError
from salt.neighbours.margins import WidenedTiles


@dataclass(frozen=True)
class TilesWithDepth:
    """Tiles whose depth is known; stand where plain tiles or `WidenedTiles` may stand.

    Attributes:
        tiles: uint8 [n, S, S], indexed by rows.
        depth: float32 [n], from `standardised`.
    """

    tiles: np.ndarray | WidenedTiles
    depth: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tiles, [n, S, S]."""
        return self.tiles.shape

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the tiles at `rows`, with margins if they have any; no depth among them."""
        return self.tiles[rows]

    def joined(self, others: np.ndarray) -> "TilesWithDepth":
        """Return these tiles and behind them others, uint8 [k, S, S], without a depth."""
        unknown = np.zeros(len(others), np.float32)
        depth = np.concatenate([self.depth, unknown])
        return TilesWithDepth(joined_images(self.tiles, others), depth)


def joined_images(
    tiles: np.ndarray | WidenedTiles, others: np.ndarray
) -> np.ndarray | WidenedTiles:
    """Return tiles and behind them others, uint8 [k, S, S], which lie beside nothing."""
    if isinstance(tiles, WidenedTiles):
        return tiles.joined(others)
    return np.concatenate([tiles, others])


def standardised(depth: np.ndarray) -> np.ndarray:
    """Return depths [n], in whatever unit, as float32 with mean 0 and deviation 1.

    A tile without depth (NaN) counts as one of mean depth: 0. Where all are equally deep, all
    are 0.

    Raises:
        StoreError: no tile has a depth.
    """
    known = depth[~np.isnan(depth)]
    if not len(known):
        raise StoreError(
            f"none of {len(depth)} tiles has a depth, expected some for model.depth_input. Add "
            "depths.csv to the raw data, or set model.depth_input: none."
        )
    spread = known.std() or 1.0
    return np.nan_to_num((depth - known.mean()) / spread).astype(np.float32)


# uint8, indexed by rows: tiles, tiles with real margins, or either of them with depths
TileImages = np.ndarray | WidenedTiles | TilesWithDepth


def with_depth(batch: torch.Tensor, images: TileImages, stacks: np.ndarray) -> torch.Tensor:
    """Return a batch, and behind its stacks the depth of each if `images` have depths.

    Args:
        batch: [B, C, H, W], normalised.
        images: what it was taken of; stacks: int64 [B, C], at these rows.
    """
    if not isinstance(images, TilesWithDepth):
        return batch
    own = stacks[:, stacks.shape[1] // 2]
    depth = torch.from_numpy(images.depth[own])[:, None, None, None]
    return torch.cat([batch, depth.expand(-1, 1, *batch.shape[-2:])], dim=1)  # [B, C + 1, H, W]

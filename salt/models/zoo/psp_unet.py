"""A small U-Net with pyramid pooling at its bottom.

Pyramid pooling (Zhao et al. 2017, arXiv:1612.01105) tells every place of the coarsest level
what the whole tile holds; trained from scratch, a network of this kind went furthest on TGS.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.decoder import ScSE, enlarged
from salt.models.zoo.layers import ConvLayer, ConvPair, UpBlock
from salt.models.zoo.network import BodyOutput

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Average over 1, 4, 9 and 36 parts of the tile, join to each place, narrow again."""

    def __init__(self, channels: int, normalisation: str, activation: str) -> None:
        super().__init__()
        # Not normalised: over two tiles of a single value, statistics would be noise.
        share = max(channels // len(BINS), 1)
        self.narrow = nn.ModuleList(
            ConvLayer(channels, share, "none", activation, kernel_size=1) for _ in BINS
        )
        joined = channels + share * len(BINS)
        self.join = ConvLayer(joined, channels, normalisation, activation)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give [B, C, H, W] its surroundings; same shape."""
        parts = [features]
        for bins, narrow in zip(BINS, self.narrow, strict=True):
            averages = narrow(F.adaptive_avg_pool2d(features, bins))
            parts.append(enlarged(averages, features.shape[-2:]))
        return self.join(torch.cat(parts, dim=1))


class PspUnet(nn.Module):
    """Channels double at each of `levels` halvings, from `width`.

    Args:
        normalisation: batch, instance, group or none; activation: relu, leaky_relu, elu, silu.
        dropout: of channels, between the two convolutions of every level.
        scse: recalibrate every decoder level (Roy et al. 2018).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int,
        levels: int,
        normalisation: str,
        activation: str,
        dropout: float,
        scse: bool,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        style = (normalisation, activation, dropout)
        self.down = nn.ModuleList(
            ConvPair(before, after, *style)
            for before, after in itertools.pairwise([in_channels, *widths])
        )
        self.pyramid = PyramidPooling(widths[-1], normalisation, activation)
        self.up, self.attention = nn.ModuleList(), nn.ModuleList()
        for coarse, fine in itertools.pairwise(reversed(widths)):
            self.up.append(UpBlock(coarse, fine, *style, upsampling="nearest"))
            self.attention.append(ScSE(fine) if scse else nn.Identity())

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        skips = [self.down[0](images)]
        for level in self.down[1:]:
            skips.append(level(F.max_pool2d(skips[-1], 2)))
        decoded = deepest = self.pyramid(skips.pop())
        for block, attention in zip(self.up, self.attention, strict=True):
            decoded = attention(block(decoded, skips.pop()))
        return BodyOutput(decoded, deepest)

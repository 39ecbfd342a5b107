"""A small U-Net with pyramid pooling at its bottom.

Pyramid pooling (Zhao et al. 2017, arXiv:1612.01105) tells every place of the coarsest level
what the whole tile holds; trained from scratch, a network of this kind went furthest on TGS.
"""

import itertools
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.decoder import ScSE, enlarged
from salt.models.zoo.layers import (
    ConvLayer,
    Style,
    UpBlock,
    descend,
    doubling_widths,
    way_down,
)
from salt.models.zoo.network import BodyOutput

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Average over 1, 4, 9 and 36 parts of the tile, join to each place, narrow again."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        # Not normalised: over two tiles of a single value, statistics would be noise.
        plain, share = replace(style, normalisation="none"), max(channels // len(BINS), 1)
        self.narrow = nn.ModuleList(ConvLayer(channels, share, plain, kernel_size=1) for _ in BINS)
        self.join = ConvLayer(channels + share * len(BINS), channels, style)

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
        style: its dropout stands between the two convolutions of every level.
        scse: recalibrate every decoder level (Roy et al. 2018).
    """

    def __init__(
        self, in_channels: int, *, width: int, levels: int, style: Style, scse: bool
    ) -> None:
        super().__init__()
        widths = doubling_widths(width, levels)
        self.down = way_down(in_channels, widths, style)
        self.pyramid = PyramidPooling(widths[-1], style)
        self.up, self.attention = nn.ModuleList(), nn.ModuleList()
        for coarse, fine in itertools.pairwise(reversed(widths)):
            self.up.append(UpBlock(coarse, fine, style, upsampling="nearest"))
            self.attention.append(ScSE(fine) if scse else nn.Identity())

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        skips = descend(self.down, images)
        decoded = deepest = self.pyramid(skips.pop())
        for block, attention in zip(self.up, self.attention, strict=True):
            decoded = attention(block(decoded, skips.pop()))
        return BodyOutput(decoded, deepest)

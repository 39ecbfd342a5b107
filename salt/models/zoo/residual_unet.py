"""A residual U-Net straight on 101x101 tiles, without padding.

The pattern of the TGS kernels on 101 pixels: halvings that round down (101, 50, 25, 12, 6),
transposed convolutions cut to the skip's size, and two pre-activated residual blocks (He et
al. 2016, arXiv:1603.05027) on every level: 18 blocks with four halvings.
"""

import itertools
from dataclasses import replace

import torch
from torch import nn

from salt.models.decoder import Hypercolumn
from salt.models.zoo.layers import Style, descend, doubling_widths, joined_with_depth
from salt.models.zoo.network import BodyOutput


class ResidualBlock(nn.Module):
    """Norm, activation and convolution, twice, added to what came in."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *(layer for _ in range(2) for layer in _pre_activated(channels, style))
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Refine [B, C, H, W]; same shape."""
        return features + self.residual(features)


class ResidualLevel(nn.Sequential):
    """Channel dropout, a convolution, two residual blocks, norm and activation."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__(
            nn.Dropout2d(style.dropout),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            ResidualBlock(out_channels, style),
            ResidualBlock(out_channels, style),
            style.normalised(out_channels),
            style.activated(),
        )


class ResidualUnet(nn.Module):
    """Channels double at each of `levels` halvings, from `width`; any input size will do.

    Args:
        style: its dropout stands before every level but the first.
        depth_inside: join the tile's depth to the coarsest features.
        hypercolumn: give all decoder levels side by side, not the finest alone.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int,
        levels: int,
        style: Style,
        depth_inside: bool = False,
        hypercolumn: bool = False,
    ) -> None:
        super().__init__()
        widths = doubling_widths(width, levels)
        first = replace(style, dropout=0.0)
        self.down = nn.ModuleList([ResidualLevel(in_channels, width, first)])
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in itertools.pairwise(widths):
            self.down.append(ResidualLevel(fine, coarse, style))
        decoded = widths[-2::-1]  # coarse to fine
        incoming = [widths[-1] + depth_inside, *decoded[:-1]]
        for coarse, fine in zip(incoming, decoded, strict=True):
            self.enlarge.append(nn.ConvTranspose2d(coarse, fine, 3, stride=2))
            self.up.append(ResidualLevel(2 * fine, fine, style))
        self.hypercolumn = Hypercolumn(decoded) if hypercolumn else None

    def forward(self, images: torch.Tensor, depth: torch.Tensor | None = None) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution, told depths [B, 1, 1, 1] if they go inside."""
        skips = descend(self.down, images)
        decoded = deepest = joined_with_depth(skips.pop(), depth)
        levels = []
        for enlarge, level in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            height, width = skip.shape[-2:]
            doubled = enlarge(decoded)[..., :height, :width]  # 2n + 1, cut to 2n where it is even
            decoded = level(torch.cat([doubled, skip], dim=1))
            levels.append(decoded)
        if self.hypercolumn is not None:
            decoded = self.hypercolumn(levels)
        return BodyOutput(decoded, deepest)


def _pre_activated(channels: int, style: Style) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, channels, 3, padding=1)
    return [style.normalised(channels), style.activated(), convolution]

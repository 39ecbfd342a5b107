"""A residual U-Net straight on 101x101 tiles, without padding.

The pattern of the TGS kernels on 101 pixels: halvings that round down (101, 50, 25, 12, 6),
transposed convolutions cut to the skip's size, and two pre-activated residual blocks (He et
al. 2016, arXiv:1603.05027) on every level: 18 blocks with four halvings.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.zoo.layers import ACTIVATIONS, NORMALISATIONS
from salt.models.zoo.network import BodyOutput


class ResidualBlock(nn.Module):
    """Norm, activation and convolution, twice, added to what came in."""

    def __init__(self, channels: int, normalisation: str, activation: str) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            NORMALISATIONS[normalisation](channels),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, 3, padding=1),
            NORMALISATIONS[normalisation](channels),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Refine [B, C, H, W]; same shape."""
        return features + self.residual(features)


class ResidualLevel(nn.Sequential):
    """Channel dropout, a convolution, two residual blocks, norm and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        normalisation: str,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__(
            nn.Dropout2d(dropout),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            ResidualBlock(out_channels, normalisation, activation),
            ResidualBlock(out_channels, normalisation, activation),
            NORMALISATIONS[normalisation](out_channels),
            ACTIVATIONS[activation](),
        )


class ResidualUnet(nn.Module):
    """Channels double at each of `levels` halvings, from `width`; any input size will do.

    Args:
        normalisation: batch, instance, group or none; activation: relu, leaky_relu, elu, silu.
        dropout: of channels, before every level but the first.
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
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        style = (normalisation, activation)
        self.down = nn.ModuleList([ResidualLevel(in_channels, width, *style, 0.0)])
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in itertools.pairwise(widths):
            self.down.append(ResidualLevel(fine, coarse, *style, dropout))
        for coarse, fine in itertools.pairwise(reversed(widths)):
            self.enlarge.append(nn.ConvTranspose2d(coarse, fine, 3, stride=2))
            self.up.append(ResidualLevel(2 * fine, fine, *style, dropout))

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        skips = [self.down[0](images)]
        for level in self.down[1:]:
            skips.append(level(F.max_pool2d(skips[-1], 2)))
        decoded = deepest = skips.pop()
        for enlarge, level in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            height, width = skip.shape[-2:]
            doubled = enlarge(decoded)[..., :height, :width]  # 2n + 1, cut to 2n where it is even
            decoded = level(torch.cat([doubled, skip], dim=1))
        return BodyOutput(decoded, deepest)

"""The plain U-Net (Ronneberger et al. 2015, arXiv:1505.04597), padded convolutions."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.zoo.layers import ConvPair, UpBlock
from salt.models.zoo.network import BodyOutput


class PlainUnet(nn.Module):
    """Channels double at each of `levels` halvings, from `width`; every level two convolutions.

    Args:
        normalisation: batch, instance, group or none; activation: relu, leaky_relu, elu, silu.
        dropout: of channels, between the two convolutions of every level.
        upsampling: `nearest` (with a convolution) or `transposed`.
        skip_attention: `none` or `spatial`.
        deep_supervision: in training also give logits of all levels but the finest.
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
        upsampling: str,
        skip_attention: str,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            ConvPair(before, after, normalisation, activation, dropout)
            for before, after in itertools.pairwise([in_channels, *widths])
        )
        self.up = nn.ModuleList(
            UpBlock(coarse, fine, normalisation, activation, dropout, upsampling, skip_attention)
            for coarse, fine in itertools.pairwise(reversed(widths))
        )
        coarser = widths[-2:0:-1] if deep_supervision else []
        self.auxiliary = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in coarser)

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        skips = [self.down[0](images)]
        for level in self.down[1:]:
            skips.append(level(F.max_pool2d(skips[-1], 2)))
        deepest = skips.pop()
        decoded = [deepest]
        for block in self.up:
            decoded.append(block(decoded[-1], skips.pop()))
        coarser = decoded[1:-1] if self.training and self.auxiliary else []
        pairs = zip(self.auxiliary, coarser, strict=bool(coarser))
        return BodyOutput(decoded[-1], deepest, tuple(head(level) for head, level in pairs))

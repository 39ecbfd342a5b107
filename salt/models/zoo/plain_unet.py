"""The plain U-Net (Ronneberger et al. 2015, arXiv:1505.04597), padded convolutions."""

import itertools

import torch
from torch import nn

from salt.models.zoo.layers import Style, UpBlock, descend, doubling_widths, way_down
from salt.models.zoo.network import BodyOutput


class PlainUnet(nn.Module):
    """Channels double at each of `levels` halvings, from `width`; every level two convolutions.

    Args:
        style: its dropout stands between the two convolutions of every level.
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
        style: Style,
        upsampling: str,
        skip_attention: str,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        widths = doubling_widths(width, levels)
        self.down = way_down(in_channels, widths, style)
        self.up = nn.ModuleList(
            UpBlock(coarse, fine, style, upsampling, skip_attention)
            for coarse, fine in itertools.pairwise(reversed(widths))
        )
        coarser = widths[-2:0:-1] if deep_supervision else []
        self.auxiliary = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in coarser)

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        skips = descend(self.down, images)
        deepest = skips.pop()
        decoded = [deepest]
        for block in self.up:
            decoded.append(block(decoded[-1], skips.pop()))
        coarser = decoded[1:-1] if self.training and self.auxiliary else []
        pairs = zip(self.auxiliary, coarser, strict=bool(coarser))
        return BodyOutput(decoded[-1], deepest, tuple(head(level) for head, level in pairs))

"""The plain U-Net (Ronneberger et al. 2015, arXiv:1505.04597), padded convolutions."""

import torch
from torch import nn

from salt.models.decoder import Hypercolumn
from salt.models.zoo.layers import (
    Style,
    UpBlock,
    descend,
    doubling_widths,
    joined_with_depth,
    way_down,
)
from salt.models.zoo.network import BodyOutput


class PlainUnet(nn.Module):
    """Channels double at each of `levels` halvings, from `width`; every level two convolutions.

    Args:
        style: its dropout stands between the two convolutions of every level.
        upsampling: `nearest` (with a convolution) or `transposed`.
        skip_attention: `none` or `spatial`.
        deep_supervision: in training also give logits of all levels but the finest.
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
        upsampling: str,
        skip_attention: str,
        deep_supervision: bool,
        depth_inside: bool = False,
        hypercolumn: bool = False,
    ) -> None:
        super().__init__()
        widths = doubling_widths(width, levels)
        self.down = way_down(in_channels, widths, style)
        decoded = widths[-2::-1]  # coarse to fine
        incoming = [widths[-1] + depth_inside, *decoded[:-1]]
        self.up = nn.ModuleList(
            UpBlock(coarse, fine, style, upsampling, skip_attention)
            for coarse, fine in zip(incoming, decoded, strict=True)
        )
        coarser = decoded[:-1] if deep_supervision else []
        self.auxiliary = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in coarser)
        self.hypercolumn = Hypercolumn(decoded) if hypercolumn else None

    def forward(self, images: torch.Tensor, depth: torch.Tensor | None = None) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution, told depths [B, 1, 1, 1] if they go inside."""
        skips = descend(self.down, images)
        deepest = joined_with_depth(skips.pop(), depth)
        decoded = [deepest]
        for block in self.up:
            decoded.append(block(decoded[-1], skips.pop()))
        coarser = decoded[1:-1] if self.training and self.auxiliary else []
        pairs = zip(self.auxiliary, coarser, strict=bool(coarser))
        auxiliary = tuple(head(level) for head, level in pairs)
        whole = decoded[-1] if self.hypercolumn is None else self.hypercolumn(decoded[1:])
        return BodyOutput(whole, deepest, auxiliary)

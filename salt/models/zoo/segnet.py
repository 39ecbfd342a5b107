"""SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561): unpooling where maxima were.

No skips: the decoder puts each value back to the place that max-pooling took it from.
"""

import itertools
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.zoo.layers import ConvLayer, Style
from salt.models.zoo.network import BodyOutput

CONVOLUTIONS = (2, 2, 3, 3, 3)  # per level, as in VGG16; a sixth level and on has three
WIDEST = 8  # times the first level's channels


class SegNet(nn.Module):
    """VGG16's convolutions and their mirror image, from `width` channels; any input size.

    Args:
        style: its dropout stands at the end of every level but the finest.
    """

    def __init__(self, in_channels: int, *, width: int, levels: int, style: Style) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = in_channels
        for level in range(levels):
            after = width * min(2**level, WIDEST)
            count = CONVOLUTIONS[min(level, len(CONVOLUTIONS) - 1)]
            narrow = before if level else width  # the decoder ends at `width`, not at the image
            own = style if level else replace(style, dropout=0.0)
            inward, outward = [before, *[after] * count], [*[after] * count, narrow]
            self.down.append(_convolutions(inward, own))
            self.up.insert(0, _convolutions(outward, own))
            before = after

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        features, pooled = images, []
        for level in self.down:
            features = level(features)
            size = features.shape[-2:]
            features, places = F.max_pool2d(features, 2, return_indices=True)
            pooled.append((places, size))
        deepest = features
        for level in self.up:
            places, size = pooled.pop()
            spread = F.max_unpool2d(features.float(), places, [2, 2], output_size=size)  # no bf16
            features = level(spread)
        return BodyOutput(features, deepest)


def _convolutions(channels: list[int], style: Style) -> nn.Sequential:
    """Return convolution layers from channels[0] through to channels[-1], then dropout."""
    pairs = itertools.pairwise(channels)
    layers = [ConvLayer(before, after, style) for before, after in pairs]
    return nn.Sequential(*layers, nn.Dropout2d(style.dropout))

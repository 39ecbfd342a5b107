"""SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561): unpooling where maxima were.

No skips: the decoder puts each value back to the place that max-pooling took it from.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.zoo.layers import ConvLayer
from salt.models.zoo.network import BodyOutput

CONVOLUTIONS = (2, 2, 3, 3, 3)  # per level, as in VGG16; a sixth level and on has three
WIDEST = 8  # times the first level's channels


class SegNet(nn.Module):
    """VGG16's convolutions and their mirror image, from `width` channels; any input size.

    Args:
        normalisation: batch, instance, group or none; activation: relu, leaky_relu, elu, silu.
        dropout: of channels, at the end of every level but the finest.
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
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = in_channels
        for level in range(levels):
            after = width * min(2**level, WIDEST)
            count = CONVOLUTIONS[min(level, len(CONVOLUTIONS) - 1)]
            narrow = before if level else width  # the decoder ends at `width`, not at the image
            share = dropout if level else 0.0
            inward, outward = [before, *[after] * count], [*[after] * count, narrow]
            self.down.append(_convolutions(inward, normalisation, activation, share))
            self.up.insert(0, _convolutions(outward, normalisation, activation, share))
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


def _convolutions(
    channels: list[int], normalisation: str, activation: str, dropout: float
) -> nn.Sequential:
    """Return convolution layers from channels[0] through to channels[-1], then dropout."""
    layers: list[nn.Module] = [
        ConvLayer(before, after, normalisation, activation)
        for before, after in itertools.pairwise(channels)
    ]
    return nn.Sequential(*layers, nn.Dropout2d(dropout))

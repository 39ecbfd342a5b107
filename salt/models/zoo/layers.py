"""What our own small networks share: the style of their layers, and the way down."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.decoder import AttentionGate

GROUPS = 8
NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(GROUPS if channels % GROUPS == 0 else 1, channels),
    "none": lambda _: nn.Identity(),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}


@dataclass(frozen=True)
class Style:
    """The choices that hold for every layer of a network.

    Attributes:
        normalisation: a key of `NORMALISATIONS`; activation: one of `ACTIVATIONS`.
        dropout: of channels, active in training only; each network says where it stands.
    """

    normalisation: str
    activation: str
    dropout: float = 0.0

    def normalised(self, channels: int) -> nn.Module:
        """Return a normalisation layer."""
        return NORMALISATIONS[self.normalisation](channels)

    def activated(self) -> nn.Module:
        """Return an activation layer."""
        return ACTIVATIONS[self.activation]()


class ConvLayer(nn.Sequential):
    """Convolution that keeps the size, normalisation, activation."""

    def __init__(
        self, in_channels: int, out_channels: int, style: Style, kernel_size: int = 3
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                bias=style.normalisation == "none",
            ),
            style.normalised(out_channels),
            style.activated(),
        )


class ConvPair(nn.Sequential):
    """Two convolution layers with channel dropout between them."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__(
            ConvLayer(in_channels, out_channels, style),
            nn.Dropout2d(style.dropout),
            ConvLayer(out_channels, out_channels, style),
        )


class UpBlock(nn.Module):
    """Double the resolution, halve the channels, join the skip, convolve twice."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: Style,
        upsampling: str = "transposed",
        skip_attention: str = "none",
    ) -> None:
        super().__init__()
        self.up: nn.Module = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        if upsampling == "nearest":
            widen = ConvLayer(in_channels, out_channels, style)
            self.up = nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), widen)
        gated = skip_attention == "spatial"
        self.gate = AttentionGate(out_channels, out_channels) if gated else None
        self.join = ConvPair(2 * out_channels, out_channels, style)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Join [B, C, H, W] and a skip [B, D, 2H, 2W] to [B, D, 2H, 2W]."""
        upsampled = self.up(coarse)
        if self.gate is not None:
            skip = self.gate(skip, upsampled)
        return self.join(torch.cat([skip, upsampled], dim=1))


def joined_with_depth(features: torch.Tensor, depth: torch.Tensor | None) -> torch.Tensor:
    """Give [B, C, H, W] one more channel that says the depth [B, 1, 1, 1], if it is told."""
    if depth is None:
        return features
    return torch.cat([features, depth.expand(-1, 1, *features.shape[-2:])], dim=1)


def doubling_widths(width: int, levels: int) -> list[int]:
    """Return the channels at full resolution and behind each of `levels` halvings."""
    return [width * 2**level for level in range(levels + 1)]


def way_down(in_channels: int, widths: Sequence[int], style: Style) -> nn.ModuleList:
    """Return the convolutions of each resolution, for `descend`."""
    return nn.ModuleList(
        ConvPair(before, after, style)
        for before, after in itertools.pairwise([in_channels, *widths])
    )


def descend(levels: nn.ModuleList, images: torch.Tensor) -> list[torch.Tensor]:
    """Run one level per resolution, halved by max-pooling: what each gives, fine to coarse."""
    features = [levels[0](images)]
    for level in levels[1:]:
        features.append(level(F.max_pool2d(features[-1], 2)))
    return features

"""The choices of normalisation and activation that our own small networks share."""

from collections.abc import Callable

import torch
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


class ConvLayer(nn.Sequential):
    """Convolution that keeps the size, normalisation, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        normalisation: str,
        activation: str,
        kernel_size: int = 3,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                bias=normalisation == "none",
            ),
            NORMALISATIONS[normalisation](out_channels),
            ACTIVATIONS[activation](),
        )


class ConvPair(nn.Sequential):
    """Two convolution layers with channel dropout between them, active in training only."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        normalisation: str,
        activation: str,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            ConvLayer(in_channels, out_channels, normalisation, activation),
            nn.Dropout2d(dropout),
            ConvLayer(out_channels, out_channels, normalisation, activation),
        )


class UpBlock(nn.Module):
    """Double the resolution, halve the channels, join the skip, convolve twice."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        normalisation: str,
        activation: str,
        dropout: float = 0.0,
        upsampling: str = "transposed",
        skip_attention: str = "none",
    ) -> None:
        super().__init__()
        self.up: nn.Module = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        if upsampling == "nearest":
            widen = ConvLayer(in_channels, out_channels, normalisation, activation)
            self.up = nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), widen)
        gated = skip_attention == "spatial"
        self.gate = AttentionGate(out_channels, out_channels) if gated else None
        self.join = ConvPair(2 * out_channels, out_channels, normalisation, activation, dropout)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Join [B, C, H, W] and a skip [B, D, 2H, 2W] to [B, D, 2H, 2W]."""
        upsampled = self.up(coarse)
        if self.gate is not None:
            skip = self.gate(skip, upsampled)
        return self.join(torch.cat([skip, upsampled], dim=1))

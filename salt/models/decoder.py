"""The U-Net decoder: upsample, concatenate the skip, convolve, recalibrate, drop.

Dropout stands at named sites behind the blocks. All that lies before the first one is the
same in every Monte Carlo pass, so `settle` runs it once and `finish` runs the rest.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from salt.errors import ModelError

Skips = list[torch.Tensor | None]


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU; in inference the norm is part of the convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.stride = stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give [B, E, H / stride, W / stride] for [B, C, H, W]."""
        kernel, bias = self.convolution()
        return self.ended(F.conv2d(features, kernel, bias, self.stride, padding=1))

    def convolution(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the kernel [E, C, 3, 3] and bias [E], of the norm where it is folded in.

        Once its statistics stand still, a batch norm scales and shifts each channel: what a
        kernel can do. Apart it would be one more run through memory.
        """
        kernel, norm = cast(nn.Conv2d, self[0]).weight, cast(nn.BatchNorm2d, self[1])
        if norm.training:
            return kernel, None
        mean, variance = cast(torch.Tensor, norm.running_mean), cast(torch.Tensor, norm.running_var)
        # Written out: torch's fuse_conv_bn_weights returns parameters that no gradient passes.
        inverse_deviation = torch.rsqrt(variance + norm.eps)
        scale = norm.weight * inverse_deviation
        bias = norm.bias - mean * inverse_deviation * norm.weight
        return kernel * scale[:, None, None, None], bias

    def ended(self, convolved: torch.Tensor) -> torch.Tensor:
        """Norm, unless it was folded in, and ReLU; same shape."""
        return self[2](self[1](convolved) if self[1].training else convolved)


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018, arXiv:1803.02579)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        squeezed = max(channels // reduction, 4)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scale [B, C, H, W] by what its channels and its places say; same shape."""
        return features * (self.channel(features) + self.spatial(features))


class DropoutSite(nn.Dropout2d):
    """Channel dropout that Monte Carlo inference leaves switched on; see salt.infer.uncertainty."""


def site_rates(sites: str, blocks: int, dropout: float) -> list[float]:
    """Return the share of channels dropped behind each of the decoder's blocks, coarse to fine.

    Args:
        sites: `early`: behind every block but the two finest; `late`: behind the last block
            but one, so that one block lies behind the first site; `head`: behind the last
            block, just before the mask head.

    Raises:
        ModelError: there is dropout, and no block to stand behind.
    """
    places = {
        "early": range(blocks - 2),
        "late": range(blocks - 2, blocks - 1),
        "head": range(blocks - 1, blocks),
    }
    if dropout > 0 and not places[sites]:
        raise ModelError(
            f"model.dropout_sites is {sites}, but a decoder of {blocks} levels has no such place; "
            "expected late or head. Set one of these, or give model.decoder_channels more entries."
        )
    return [dropout * (block in places[sites]) for block in range(blocks)]


class AttentionGate(nn.Module):
    """Weigh the places of a skip by what the coarser level says of them.

    The additive gate of Oktay et al. 2018 (arXiv:1804.03999, eq. 1 and 2).
    """

    def __init__(self, skip_channels: int, gate_channels: int) -> None:
        super().__init__()
        inner = max(skip_channels // 2, 4)
        self.skip = nn.Conv2d(skip_channels, inner, 1, bias=False)
        self.gate = nn.Conv2d(gate_channels, inner, 1)
        self.weight = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Scale a skip [B, C, H, W] by weights in (0, 1) from a gate [B, D, H, W]."""
        weight = torch.sigmoid(self.weight(F.relu(self.skip(skip) + self.gate(gate))))
        return skip * weight  # [B, 1, H, W] of weights


def doubling(channels: int, upsampling: str) -> nn.Module:
    """Return what doubles the resolution: `nearest` repeats pixels, `transposed` learns how."""
    if upsampling == "transposed":
        return nn.ConvTranspose2d(channels, channels, 2, stride=2)
    return nn.Upsample(scale_factor=2.0, mode="nearest")


class DecoderBlock(nn.Module):
    """Double the resolution, join the skip, convolve twice, recalibrate.

    The first convolution is the sum of one over the coarse features and one over the skip: over
    both side by side it would be the same. So `weighed` can give the skip's part once for many
    Monte Carlo passes, and nothing need be copied together.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        scse: bool,
        upsampling: str = "nearest",
        skip_attention: str = "none",
    ) -> None:
        super().__init__()
        self.up = doubling(in_channels, upsampling)
        gated = skip_attention == "spatial" and skip_channels > 0
        self.gate = AttentionGate(skip_channels, in_channels) if gated else None
        self.in_channels = in_channels
        self.first = ConvBlock(in_channels + skip_channels, out_channels)
        self.second = ConvBlock(out_channels, out_channels)
        self.attention = ScSE(out_channels) if scse else nn.Identity()

    def weighed(self, skip: torch.Tensor) -> torch.Tensor:
        """Return a skip's part of the first convolution, [B, E, 2H, 2W] for [B, D, 2H, 2W].

        A gated skip is returned as it is: its weights depend on the coarse features.
        """
        return skip if self.gate is not None else self._over_skip(skip)

    def forward(self, coarse: torch.Tensor, weighed: torch.Tensor | None) -> torch.Tensor:
        """Join [B, C, H, W] and what `weighed` made of a skip; give [B, E, 2H, 2W]."""
        up = self.up(coarse)
        kernel, bias = self.first.convolution()
        joined = F.conv2d(up, kernel[:, : self.in_channels], bias, padding=1)
        if self.gate is not None and weighed is not None:
            weighed = self._over_skip(self.gate(weighed, up))
        if weighed is not None:
            joined = joined + weighed
        return self.attention(self.second(self.first.ended(joined)))

    def _over_skip(self, skip: torch.Tensor) -> torch.Tensor:
        kernel, _ = self.first.convolution()
        return F.conv2d(skip, kernel[:, self.in_channels :], padding=1)


class UnetDecoder(nn.Module):
    """Decode features with reductions such as [1, 2, 4, 8, 16] to full resolution.

    Args:
        feature_channels, reductions: the features, fine to coarse; the coarsest is
            2 ** len(channels); a level without a feature is decoded without a skip.
        channels: output channels per block, coarse to fine.
        dropout, sites: channel dropout and where it stands, see `site_rates`.
        upsampling: `nearest` or `transposed`.
        skip_attention: `none`, or `spatial` for an attention gate on every skip.
    """

    def __init__(
        self,
        feature_channels: Sequence[int],
        reductions: Sequence[int],
        channels: Sequence[int],
        *,
        scse: bool,
        dropout: float,
        sites: str,
        upsampling: str = "nearest",
        skip_attention: str = "none",
    ) -> None:
        super().__init__()
        width_at = dict(zip(reductions, feature_channels, strict=True))
        self.reductions = list(reductions)
        self.skip_reductions = [2**level for level in reversed(range(len(channels)))]
        incoming = [width_at[2 ** len(channels)], *channels[:-1]]
        self.blocks = nn.ModuleList(
            DecoderBlock(
                before,
                width_at.get(reduction, 0),
                after,
                scse,
                upsampling,
                skip_attention,
            )
            for before, reduction, after in zip(
                incoming, self.skip_reductions, channels, strict=True
            )
        )

        rates = site_rates(sites, len(channels), dropout)
        self.sites = nn.ModuleList(DropoutSite(rate) for rate in rates)
        active = [block for block, rate in enumerate(rates) if rate > 0]
        self.settled_blocks = active[0] + 1 if active else len(rates)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode feature maps, fine to coarse, to [B, channels[-1], S, S]."""
        return self.finish(*self.settle(features))[-1]

    def settle(self, features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], Skips]:
        """Run what lies before the first active site, never random.

        Returns:
            The output of every block up to the site, and for every block behind it what it
            makes of its skip, both coarse to fine.
        """
        skips = [
            None if skip is None else block.weighed(skip)
            for block, skip in zip(self._blocks(), self._skips(features), strict=True)
        ]
        levels, decoded = [], features[-1]
        for block, skip in zip(self._blocks()[: self.settled_blocks], skips, strict=False):
            decoded = block(decoded, skip)
            levels.append(decoded)
        return levels, skips[self.settled_blocks :]

    def finish(self, settled: Sequence[torch.Tensor], skips: Skips) -> list[torch.Tensor]:
        """Run the first active site and all behind it: every block's output, coarse to fine."""
        first = self.settled_blocks
        decoded = self.sites[first - 1](settled[-1])
        levels = [*settled[:-1], decoded]
        for block, site, skip in zip(
            self._blocks()[first:], self.sites[first:], skips, strict=True
        ):
            decoded = site(block(decoded, skip))
            levels.append(decoded)
        return levels

    def _blocks(self) -> list[DecoderBlock]:
        return [cast(DecoderBlock, block) for block in self.blocks]

    def _skips(self, features: Sequence[torch.Tensor]) -> Skips:
        feature_at = dict(zip(self.reductions, features, strict=True))
        return [feature_at.get(reduction) for reduction in self.skip_reductions]


class Hypercolumn(nn.Module):
    """Set all decoder levels side by side at full resolution.

    Hariharan et al. 2015 (arXiv:1411.5752). Each level is first brought to the finest one's
    channels, or the coarse ones, at full resolution, would cost more than the decoder.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(nn.Conv2d(width, channels[-1], 1) for width in channels[:-1])
        self.channels = channels[-1] * len(channels)

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join levels, coarse to fine, to [B, self.channels, S, S]."""
        size = levels[-1].shape[-2:]
        coarse = [narrow(level) for narrow, level in zip(self.narrow, levels[:-1], strict=True)]
        return torch.cat([*(enlarged(level, size) for level in coarse), levels[-1]], dim=1)


def enlarged(features: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Interpolate [B, C, H, W] to another height and width, bilinearly."""
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)

"""The U-Net decoder: upsample, concatenate the skip, convolve, recalibrate, drop.

Dropout stands at named sites behind the blocks. All that lies before the first one is the
same in every Monte Carlo pass, so `settle` runs it once and `finish` runs the rest.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


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
        return features * self.channel(features) + features * self.spatial(features)


class DropoutSite(nn.Dropout2d):
    """Channel dropout that Monte Carlo inference leaves switched on; see salt.infer.uncertainty."""


def site_rates(sites: str, blocks: int, dropout: float) -> list[float]:
    """Return the share of channels dropped behind each of the decoder's blocks, coarse to fine.

    Args:
        sites: `early`: behind every block but the two finest; `late`: behind the last block
            but one, so that one block lies behind the first site; `head`: behind the last
            block, just before the mask head.
    """
    places = {
        "early": range(blocks - 2),
        "late": range(blocks - 2, blocks - 1),
        "head": range(blocks - 1, blocks),
    }
    return [dropout * (block in places[sites]) for block in range(blocks)]


class DecoderBlock(nn.Module):
    """Double the resolution, join the skip, convolve twice, recalibrate."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, scse: bool) -> None:
        super().__init__()
        self.first = ConvBlock(in_channels + skip_channels, out_channels)
        self.second = ConvBlock(out_channels, out_channels)
        self.attention = ScSE(out_channels) if scse else nn.Identity()

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """Join [B, C, H, W] and a skip [B, D, 2H, 2W]; give [B, E, 2H, 2W]."""
        features = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        if skip is not None:
            features = torch.cat([features, skip], dim=1)
        return self.attention(self.second(self.first(features)))


class UnetDecoder(nn.Module):
    """Decode features with reductions such as [1, 2, 4, 8, 16] to full resolution.

    Args:
        feature_channels, reductions: the features, fine to coarse; the coarsest is
            2 ** len(channels); a level without a feature is decoded without a skip.
        channels: output channels per block, coarse to fine.
        dropout, sites: channel dropout and where it stands, see `site_rates`.
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
    ) -> None:
        super().__init__()
        width_at = dict(zip(reductions, feature_channels, strict=True))
        self.reductions = list(reductions)
        self.skip_reductions = [2**level for level in reversed(range(len(channels)))]
        incoming = [width_at[2 ** len(channels)], *channels[:-1]]
        self.blocks = nn.ModuleList(
            DecoderBlock(before, width_at.get(reduction, 0), after, scse)
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
        return self.finish(self.settle(features), features)

    def settle(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Run the blocks before the first active site: [B, C, S / r, S / r], never random."""
        decoded = features[-1]
        for block in range(self.settled_blocks):
            decoded = self._run(block, decoded, features)
        return decoded

    def finish(self, settled: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Run the first active site and all that lies behind it: [B, channels[-1], S, S]."""
        decoded = self.sites[self.settled_blocks - 1](settled)
        for block in range(self.settled_blocks, len(self.blocks)):
            decoded = self.sites[block](self._run(block, decoded, features))
        return decoded

    def skips_behind_site(self) -> list[int]:
        """Return which of the features, fine to coarse, `finish` reads."""
        late = self.skip_reductions[self.settled_blocks :]
        return [place for place, reduction in enumerate(self.reductions) if reduction in late]

    def _run(
        self, block: int, decoded: torch.Tensor, features: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        reduction = self.skip_reductions[block]
        skip = features[self.reductions.index(reduction)] if reduction in self.reductions else None
        return self.blocks[block](decoded, skip)

"""What every network takes and gives, and our own: encoder, decoder, mask and presence head."""

import itertools
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from salt.files import write_json
from salt.models.decoder import (
    ConvBlock,
    DropoutSite,
    Hypercolumn,
    Skips,
    UnetDecoder,
    enlarged,
)
from salt.models.encoder import build_encoder
from salt.models.inputs import InputChannels, depth_channel
from salt.models.weights import save_weights

FINEST_CHANNELS = 16  # of the convolution pyramid; doubled at each level, up to 256
WEIGHTS, CONFIG = "weights.safetensors", "config.json"


class Segmentation(NamedTuple):
    """What every model returns.

    Attributes:
        mask_logits: [B, 1, H, W], at the input's size.
        presence_logits: [B, 1] for "the tile holds any salt", or None without such a head.
        auxiliary: in training with deep supervision, mask logits of the coarser decoder
            levels, coarse to fine, each [B, 1, H, W]; otherwise none.
    """

    mask_logits: torch.Tensor
    presence_logits: torch.Tensor | None
    auxiliary: tuple[torch.Tensor, ...] = ()


class Settled(NamedTuple):
    """What a pass over B tiles has computed when it reaches its first random site.

    Attributes:
        levels: outputs of the decoder's blocks up to its first active site, coarse to fine.
        skips: what each block behind the site makes of its skip, coarse to fine.
        pooled: [B, D], what the presence head sees, or None without one.
    """

    levels: list[torch.Tensor]
    skips: Skips
    pooled: torch.Tensor | None


@dataclass(frozen=True)
class ModelConfig:
    """Everything that rebuilds a network; the section `model` of params.yaml.

    The settings with a default are not read by every architecture; see `salt.models.registry`.
    """

    architecture: str
    encoder: str
    encoder_width: int
    encoder_depths: tuple[int, ...]
    encoder_weights: str
    decoder_channels: tuple[int, ...]
    decoder_dropout: float
    attention: str
    presence_head: bool
    input_size: int
    stack_width: int
    padding: str = "reflect"  # this and the next: how weights were trained that lack the keys
    dropout_sites: str = "early"
    width: int = 64
    normalisation: str = "batch"
    activation: str = "relu"
    upsampling: str = "nearest"
    skip_attention: str = "none"
    hypercolumn: bool = False
    deep_supervision: bool = False
    coordinates: bool = False
    features: tuple[str, ...] = ()
    depth_input: str = "none"

    @property
    def image_channels(self) -> int:
        """Channels of the images a network is called with: the stack, and the depth if told."""
        return self.stack_width + (self.depth_input != "none")


class Network(nn.Module, ABC):
    """Any segmentation network: `network(images [B, C, S, S]) -> Segmentation`.

    C is `config.image_channels` and S `config.input_size`. A pass is `settle`, which holds nothing
    that is random in inference, and `finish`, which Monte Carlo dropout repeats. Unless a network
    divides itself more finely, `encode` is what settles and `decode` what is repeated.
    """

    config: ModelConfig

    @property
    def image_encoder(self) -> nn.Module | None:
        """The part that pretrained weights go into and training may slow or freeze, if any."""
        return None

    @abstractmethod
    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return feature maps [B, C, H, W]; nothing in here is random in inference."""

    @abstractmethod
    def decode(self, features: list[torch.Tensor]) -> Segmentation:
        """Turn feature maps into logits; every dropout site lies in here."""

    def settle(self, images: torch.Tensor) -> Any:
        """Run all that lies before the first dropout site; the same in every pass."""
        return self.encode(images)

    def finish(self, settled: Any) -> Segmentation:
        """Turn what is settled into logits; every dropout site lies in here."""
        return self.decode(settled)

    def repeat(self, settled: Any, times: int) -> Any:
        """Repeat along the batch what `finish` reads, so that it runs several passes at once."""
        return [feature.repeat(times, 1, 1, 1) for feature in settled]

    def forward(self, images: torch.Tensor) -> Segmentation:
        """Segment [B, C, S, S] normalised tiles, behind whose stack their depth may be told."""
        return self.finish(self.settle(images))


def pool(features: torch.Tensor) -> torch.Tensor:
    """Return mean and maximum over all places of [B, C, H, W], side by side: [B, 2C]."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


class PresenceHead(nn.Linear):
    """Says from what `pool` makes of C channels whether the tile holds any salt."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__(2 * channels, 1)
        self.dropout = DropoutSite(dropout)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return logits [B, 1] for [B, 2C]."""
        return super().forward(self.dropout(pooled[:, :, None, None])[:, :, 0, 0])


class ConvPyramid(nn.Module):
    """Plain convolutions from full resolution down to the transformer's coarsest.

    A 4x patch embedding blurs thin boundaries, and attention learns little from few tiles;
    these features carry boundaries past it at reductions 1 and 2, and stand beside the
    transformer's at 4 and more, so that convolution and attention see each place together.
    """

    def __init__(self, in_channels: int, depth: int) -> None:
        super().__init__()
        self.channels = [min(FINEST_CHANNELS * 2**level, 256) for level in range(depth + 1)]
        self.levels = nn.ModuleList([ConvBlock(in_channels, self.channels[0])])
        for before, after in itertools.pairwise(self.channels):
            halved = ConvBlock(before, after, stride=2)
            self.levels.append(nn.Sequential(halved, ConvBlock(after, after)))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return features reduced 1, 2, 4 ... 2 ** depth times."""
        features = []
        for level in self.levels:
            images = level(images)
            features.append(images)
        return features


class Segmenter(Network):
    """Encoder and U-Net decoder on [B, C, S, S] tiles.

    `hybrid` joins a convolution pyramid to an encoder that starts at a quarter of the
    resolution (Swin, ConvNeXt ...); `unet` takes the encoder's own features alone (ResNet ...).
    With `depth_input: inside` the coarsest features have the tile's depth as one more channel.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        depth = len(config.decoder_channels)
        self.inputs = InputChannels(config.coordinates, config.features, config.depth_input)
        in_channels = config.stack_width + self.inputs.extra
        self.encoder = build_encoder(
            config.encoder,
            input_size=config.input_size,
            in_channels=config.stack_width,
            appended_channels=self.inputs.extra,
            depth=depth,
            width=config.encoder_width,
            depths=config.encoder_depths,
            weights=config.encoder_weights,
        )
        channels, reductions = list(self.encoder.channels), list(self.encoder.reductions)
        self.pyramid: ConvPyramid | None = None
        if config.architecture == "hybrid":
            self.pyramid = ConvPyramid(in_channels, depth)
            width_at = dict(zip(reductions, channels, strict=True))
            reductions = [2**level for level in range(depth + 1)]
            channels = [
                own + width_at.get(reduction, 0)
                for own, reduction in zip(self.pyramid.channels, reductions, strict=True)
            ]
        channels[-1] += config.depth_input == "inside"
        self.decoder = UnetDecoder(
            channels,
            reductions,
            config.decoder_channels,
            scse=config.attention == "scse",
            dropout=config.decoder_dropout,
            sites=config.dropout_sites,
            upsampling=config.upsampling,
            skip_attention=config.skip_attention,
        )
        self.hypercolumn = Hypercolumn(config.decoder_channels) if config.hypercolumn else None
        finest = config.decoder_channels[-1]
        joined = finest if self.hypercolumn is None else self.hypercolumn.channels
        self.mask_head = nn.Conv2d(joined, 1, 3, padding=1)
        dropout = config.decoder_dropout
        self.presence_head = PresenceHead(channels[-1], dropout) if config.presence_head else None
        coarser = config.decoder_channels[:-1] if config.deep_supervision else ()
        self.auxiliary_heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in coarser)

    @property
    def image_encoder(self) -> nn.Module:
        """The timm encoder, without the convolutions that may stand beside it."""
        return self.encoder

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return all feature maps, fine to coarse; nothing in here is random in inference."""
        features = self._features(self.inputs(images))
        if self.config.depth_input == "inside":
            depth = depth_channel(images, features[-1].shape[-2:])
            features[-1] = torch.cat([features[-1], depth], dim=1)
        return features

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        features = self.encoder(images)
        if self.pyramid is None:
            return features
        feature_at = dict(zip(self.encoder.reductions, features, strict=True))
        return [
            torch.cat([own, feature_at[2**level]], dim=1) if 2**level in feature_at else own
            for level, own in enumerate(self.pyramid(images))
        ]

    def decode(self, features: list[torch.Tensor]) -> Segmentation:
        """Turn feature maps into logits; every dropout site lies in here."""
        return self.finish(self._settle(features))

    def settle(self, images: torch.Tensor) -> Settled:
        """Run all that lies before the first dropout site; the same in every pass."""
        return self._settle(self.encode(images))

    def finish(self, settled: Settled) -> Segmentation:
        """Turn what is settled into logits; every dropout site lies in here."""
        levels = self.decoder.finish(settled.levels, settled.skips)
        decoded = levels[-1] if self.hypercolumn is None else self.hypercolumn(levels)
        mask_logits = self.mask_head(decoded)
        presence_logits = None
        if self.presence_head is not None:
            presence_logits = self.presence_head(settled.pooled)
        return Segmentation(mask_logits, presence_logits, self._auxiliary(levels))

    def repeat(self, settled: Settled, times: int) -> Settled:
        """Repeat along the batch what `finish` reads, so that it runs several passes at once."""
        skips = [None if skip is None else skip.repeat(times, 1, 1, 1) for skip in settled.skips]
        read = settled.levels if self.hypercolumn is not None else settled.levels[-1:]
        levels = [*settled.levels[: -len(read)], *(level.repeat(times, 1, 1, 1) for level in read)]
        pooled = None if settled.pooled is None else settled.pooled.repeat(times, 1)
        return Settled(levels, skips, pooled)

    def _settle(self, features: list[torch.Tensor]) -> Settled:
        levels, skips = self.decoder.settle(features)
        return Settled(levels, skips, None if self.presence_head is None else pool(features[-1]))

    def _auxiliary(self, levels: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        if not self.training or not self.auxiliary_heads:
            return ()
        size = levels[-1].shape[-2:]
        pairs = zip(self.auxiliary_heads, levels[:-1], strict=True)
        return tuple(enlarged(head(level), size) for head, level in pairs)


def save_model(state: dict[str, torch.Tensor], config: ModelConfig, folder: Path) -> None:
    """Write weights.safetensors and the config.json that rebuilds the model."""
    save_weights(state, folder / WEIGHTS)
    write_json(folder / CONFIG, asdict(config))


def config_from(settings: dict[str, Any]) -> ModelConfig:
    """Build a config from params.yaml's section or from config.json; lists become tuples."""
    frozen: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    return ModelConfig(**frozen)

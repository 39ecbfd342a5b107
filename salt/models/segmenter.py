"""The segmentation network: encoder, decoder, mask head and presence head."""

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from salt.files import read_json, write_json
from salt.models.decoder import ConvBlock, DropoutSite, UnetDecoder
from salt.models.encoder import build_encoder
from salt.models.weights import load_weights, save_weights

FINEST_CHANNELS = 16  # of the convolution pyramid; doubled at each level, up to 256
WEIGHTS, CONFIG = "weights.safetensors", "config.json"


class Segmentation(NamedTuple):
    """What every model returns.

    Attributes:
        mask_logits: [B, 1, H, W], at the input's size.
        presence_logits: [B, 1] for "the tile holds any salt", or None without such a head.
        auxiliary: further mask logits [B, 1, h, w] over the same input, at any resolution, for
            deep supervision in training; possibly none.
    """

    mask_logits: torch.Tensor
    presence_logits: torch.Tensor | None
    auxiliary: tuple[torch.Tensor, ...] = ()


class Settled(NamedTuple):
    """What a pass over B tiles has computed when it reaches its first random site.

    Attributes:
        decoded: [B, C, S / r, S / r], the decoder as far as its first active site.
        features: the encoder's, fine to coarse; what lies behind the site still reads some.
        pooled: [B, D], what the presence head sees, or None without one.
    """

    decoded: torch.Tensor
    features: list[torch.Tensor]
    pooled: torch.Tensor | None


@dataclass(frozen=True)
class ModelConfig:
    """Everything that rebuilds a network; the section `model` of params.yaml."""

    architecture: str
    encoder: str
    encoder_width: int
    encoder_depths: tuple[int, ...]
    encoder_weights: str
    decoder_channels: tuple[int, ...]
    decoder_dropout: float
    dropout_sites: str
    attention: str
    presence_head: bool
    input_size: int
    stack_width: int
    padding: str = "reflect"  # how all weights were trained that were saved without this key


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


class Segmenter(nn.Module):
    """Encoder and U-Net decoder on [B, stack_width, S, S] tiles.

    `hybrid` joins a convolution pyramid to an encoder that starts at a quarter of the
    resolution (Swin, ConvNeXt ...); `unet` takes the encoder's own features alone (ResNet ...).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        depth = len(config.decoder_channels)
        self.encoder = build_encoder(
            config.encoder,
            input_size=config.input_size,
            in_channels=config.stack_width,
            depth=depth,
            width=config.encoder_width,
            depths=config.encoder_depths,
            weights=config.encoder_weights,
        )
        channels, reductions = list(self.encoder.channels), list(self.encoder.reductions)
        self.pyramid: ConvPyramid | None = None
        if config.architecture == "hybrid":
            self.pyramid = ConvPyramid(config.stack_width, depth)
            width_at = dict(zip(reductions, channels, strict=True))
            reductions = [2**level for level in range(depth + 1)]
            channels = [
                own + width_at.get(reduction, 0)
                for own, reduction in zip(self.pyramid.channels, reductions, strict=True)
            ]
        self.decoder = UnetDecoder(
            channels,
            reductions,
            config.decoder_channels,
            scse=config.attention == "scse",
            dropout=config.decoder_dropout,
            sites=config.dropout_sites,
        )
        self.mask_head = nn.Conv2d(config.decoder_channels[-1], 1, 3, padding=1)
        self.presence_dropout = DropoutSite(config.decoder_dropout)
        self.presence_head = nn.Linear(2 * channels[-1], 1) if config.presence_head else None

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return all feature maps, fine to coarse; nothing in here is random in inference."""
        features = self.encoder(images)
        if self.pyramid is None:
            return features
        feature_at = dict(zip(self.encoder.reductions, features, strict=True))
        return [
            torch.cat([own, feature_at[2**level]], dim=1) if 2**level in feature_at else own
            for level, own in enumerate(self.pyramid(images))
        ]

    def settle(self, images: torch.Tensor) -> Settled:
        """Run all that lies before the first dropout site; the same in every pass."""
        features = self.encode(images)
        decoded = self.decoder.settle(features)
        if self.presence_head is None:
            return Settled(decoded, features, None)
        coarsest = features[-1]  # [B, C, S / 2**depth, S / 2**depth]
        pooled = torch.cat([coarsest.mean((2, 3)), coarsest.amax((2, 3))], dim=1)
        return Settled(decoded, features, pooled)

    def finish(self, settled: Settled) -> Segmentation:
        """Turn what is settled into logits; every dropout site lies in here."""
        mask_logits = self.mask_head(self.decoder.finish(settled.decoded, settled.features))
        if self.presence_head is None or settled.pooled is None:
            return Segmentation(mask_logits, None)
        dropped = self.presence_dropout(settled.pooled[:, :, None, None])[:, :, 0, 0]
        return Segmentation(mask_logits, self.presence_head(dropped))

    def repeat(self, settled: Settled, times: int) -> Settled:
        """Repeat along the batch what `finish` reads, so that it runs several passes at once."""
        features = list(settled.features)
        for place in self.decoder.skips_behind_site():
            features[place] = features[place].repeat(times, 1, 1, 1)
        pooled = None if settled.pooled is None else settled.pooled.repeat(times, 1)
        return Settled(settled.decoded.repeat(times, 1, 1, 1), features, pooled)

    def forward(self, images: torch.Tensor) -> Segmentation:
        """Segment [B, stack_width, S, S] normalised tiles."""
        return self.finish(self.settle(images))


def save_model(state: dict[str, torch.Tensor], config: ModelConfig, folder: Path) -> None:
    """Write weights.safetensors and the config.json that rebuilds the model."""
    save_weights(state, folder / WEIGHTS)
    write_json(folder / CONFIG, asdict(config))


def load_model(folder: Path) -> Segmenter:
    """Rebuild a saved model, in evaluation mode.

    Raises:
        ModelError: the weights do not fit the config.
        StoreError: a file is missing.
    """
    model = Segmenter(config_from(read_json(folder / CONFIG) | {"encoder_weights": "none"}))
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def config_from(settings: dict[str, Any]) -> ModelConfig:
    """Build a config from params.yaml's section or from config.json; lists become tuples."""
    frozen: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    return ModelConfig(**frozen)

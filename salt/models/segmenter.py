"""The segmentation network: encoder, decoder, mask head and presence head."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from salt.errors import ModelError
from salt.files import read_json, write_json
from salt.models.decoder import ConvBlock, DropoutSite, UnetDecoder
from salt.models.encoder import build_encoder
from salt.models.weights import load_weights, save_weights

STEM_CHANNELS = (16, 32)  # at full and at half resolution
WEIGHTS, CONFIG = "weights.safetensors", "config.json"


class Segmentation(NamedTuple):
    """What every model returns.

    Attributes:
        mask_logits: [B, 1, H, W], at the input's size.
        presence_logits: [B, 1] for "the tile holds any salt", or None without such a head.
        auxiliary: further outputs with losses of their own, possibly none.
    """

    mask_logits: torch.Tensor
    presence_logits: torch.Tensor | None
    auxiliary: tuple[torch.Tensor, ...] = ()


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
    attention: str
    presence_head: bool
    input_size: int
    stack_width: int


class ConvStem(nn.Module):
    """Plain convolutions at full and half resolution.

    A transformer's 4x patch embedding blurs thin boundaries; these two maps carry them past it.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        full, half = STEM_CHANNELS
        self.full_resolution = ConvBlock(in_channels, full)
        self.half_resolution = ConvBlock(full, half, stride=2)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return features reduced 1 and 2 times."""
        full = self.full_resolution(images)
        return [full, self.half_resolution(full)]


class Segmenter(nn.Module):
    """Encoder and U-Net decoder on [B, stack_width, S, S] tiles.

    `hybrid` joins a convolution stem to an encoder that starts at a quarter of the resolution
    (Swin, ConvNeXt ...); `unet` takes the encoder's own features alone (ResNet ...).
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
        self.stem: ConvStem | None = None
        if config.architecture == "hybrid":
            if reductions[0] < 4:
                raise ModelError(
                    f"model.encoder {config.encoder!r} has features reduced {reductions} times; "
                    "the hybrid expects them to start at 4. Use model.architecture: unet."
                )
            self.stem = ConvStem(config.stack_width)
            channels, reductions = [*STEM_CHANNELS, *channels], [1, 2, *reductions]
        self.decoder = UnetDecoder(
            channels,
            reductions,
            config.decoder_channels,
            scse=config.attention == "scse",
            dropout=config.decoder_dropout,
        )
        self.mask_head = nn.Conv2d(config.decoder_channels[-1], 1, 3, padding=1)
        self.presence_dropout = DropoutSite(config.decoder_dropout)
        self.presence_head = nn.Linear(2 * channels[-1], 1) if config.presence_head else None

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return all feature maps, fine to coarse; nothing in here is random in inference."""
        features = self.encoder(images)
        return features if self.stem is None else [*self.stem(images), *features]

    def decode(self, features: list[torch.Tensor]) -> Segmentation:
        """Turn feature maps into logits; every dropout site lies in here."""
        mask_logits = self.mask_head(self.decoder(features))
        if self.presence_head is None:
            return Segmentation(mask_logits, None)
        coarsest = features[-1]  # [B, C, S / 2**depth, S / 2**depth]
        pooled = torch.cat([coarsest.mean((2, 3)), coarsest.amax((2, 3))], dim=1)
        dropped = self.presence_dropout(pooled[:, :, None, None])[:, :, 0, 0]
        return Segmentation(mask_logits, self.presence_head(dropped))

    def forward(self, images: torch.Tensor) -> Segmentation:
        """Segment [B, stack_width, S, S] normalised tiles."""
        return self.decode(self.encode(images))


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

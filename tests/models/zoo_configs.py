"""The smallest settings of every architecture, on unpadded tiles where it takes them."""

from typing import Any

from salt.models.references import reference
from salt.models.registry import ARCHITECTURES
from salt.models.segmenter import ModelConfig

SMALLEST: dict[str, Any] = {
    "encoder": "test_resnet",
    "encoder_width": 16,
    "encoder_depths": [1, 1, 1],
    "decoder_channels": [16, 16, 16],
    "attention": "scse",
    "input_size": 101,
}
CHANGES: dict[str, dict[str, Any]] = {
    "hybrid": {"input_size": 112},
    "unet": {"input_size": 112},
    "fpn": {"decoder_channels": [32, 32, 32, 32]},  # it normalises groups of 32 channels
    "deeplabv3plus": {"decoder_channels": [16, 16, 16, 16]},
    "swin_unetr": {"width": 12},
}


def smallest(name: str, **changes: Any) -> ModelConfig:
    """Return the smallest config of an architecture, with settings changed."""
    narrow = {"width": 8} if "width" in ARCHITECTURES[name].options else {}
    return reference(name, SMALLEST | narrow | CHANGES.get(name, {}) | changes)

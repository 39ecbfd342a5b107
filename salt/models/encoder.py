"""Hierarchical encoders behind one checked contract, whatever timm calls them.

Contract: `encoder(images [B, C, S, S])` gives feature maps [B, channels[i], S / reductions[i],
S / reductions[i]], fine to coarse, channels second, the reductions powers of two.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from salt.errors import ModelError

SWIN_WINDOW = 8  # divides the 32, 16 and 8 wide grids of a 128 pixel input
SWIN_HEAD_CHANNELS = 16


class Encoder(nn.Module):
    """A timm feature extractor cut at `depth` = log2 of the coarsest reduction.

    Attributes:
        channels: feature channels, fine to coarse.
        reductions: input size over feature size, fine to coarse.
    """

    def __init__(self, backbone: nn.Module, input_size: int, in_channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        info: Any = backbone.feature_info
        self.channels: list[int] = info.channels()
        self.reductions: list[int] = info.reduction()
        self.channels_last = str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC")
        self._check(input_size, in_channels)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps, fine to coarse."""
        features = self.backbone(images)
        if self.channels_last:
            return [feature.permute(0, 3, 1, 2) for feature in features]
        return list(features)

    @torch.no_grad()
    def _check(self, input_size: int, in_channels: int) -> None:
        training = self.training
        self.eval()
        shapes = [tuple(f.shape) for f in self(torch.zeros(1, in_channels, input_size, input_size))]
        self.train(training)
        expected = [
            (1, channels, input_size // reduction, input_size // reduction)
            for channels, reduction in zip(self.channels, self.reductions, strict=True)
        ]
        if shapes != expected:
            coarsest = self.reductions[-1]
            raise ModelError(
                f"the encoder gives features {shapes}, expected {expected}. "
                f"Set model.input_size to a multiple of {coarsest}, or choose another encoder."
            )


def build_encoder(
    name: str,
    *,
    input_size: int,
    in_channels: int,
    depth: int,
    width: int,
    depths: Sequence[int],
    weights: str = "none",
) -> Encoder:
    """Build an encoder whose coarsest features are reduced 2 ** `depth` times.

    Args:
        name: `swinv2` (Swin transformer V2 sized by `width` and `depths`, Liu et al. 2022,
            arXiv:2111.09883) or any timm model with hierarchical features.
        weights: `none` (random), `imagenet` (timm's own download; the first convolution is
            adapted to `in_channels` by timm) or the path of a .safetensors file with the
            timm model's own keys.

    Raises:
        ModelError: unknown encoder, an input size it cannot take, no features at that depth,
            or weights that cannot be had or do not fit.
    """
    if input_size % 2**depth:
        raise ModelError(
            f"model.input_size is {input_size}, expected a multiple of {2**depth} for "
            f"{depth} levels. Use {-(-input_size // 2**depth) * 2**depth}."
        )
    options: dict = {"features_only": True, "in_chans": in_channels}
    if name == "swinv2":
        options |= _swin_options(input_size, width, depths, depth)
        name = "swinv2_tiny_window8_256"
    try:
        if "out_indices" not in options:
            options["out_indices"] = _indices_up_to(name, 2**depth, in_channels)
        backbone = timm.create_model(name, pretrained=weights == "imagenet", **options)
    except ModelError:
        raise
    except Exception as error:  # timm raises whatever its layers and its download raise
        raise ModelError(
            f"encoder {name!r} could not be built for {input_size} pixels ({_line(error)}). "
            "Expected a timm model with hierarchical features (timm.list_models()); imagenet "
            "weights need timm's hub, encoder_weights: none needs nothing."
        ) from error
    if weights not in ("none", "imagenet"):
        load_backbone(backbone, Path(weights))
    return Encoder(backbone, input_size, in_channels)


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load a timm checkpoint with its classifier removed or present; nothing else may differ.

    Raises:
        ModelError: no such file, or keys are missing, unexpected or of another shape.
    """
    from salt.models.weights import load_weights

    load_weights(backbone, path, ignore_unexpected=("head.", "fc.", "classifier."))


def _swin_options(input_size: int, width: int, depths: Sequence[int], depth: int) -> dict:
    if len(depths) != depth - 1:
        raise ModelError(
            f"model.encoder_depths has {len(depths)} stages and model.decoder_channels {depth} "
            f"levels; a Swin encoder with {depth} levels has {depth - 1} stages. Change either."
        )
    return {
        "img_size": input_size,
        "embed_dim": width,
        "depths": tuple(depths),
        "num_heads": tuple(max(1, width * 2**i // SWIN_HEAD_CHANNELS) for i in range(len(depths))),
        "window_size": SWIN_WINDOW,
        "drop_path_rate": 0.0,
        "out_indices": tuple(range(len(depths))),
    }


def _indices_up_to(name: str, reduction: int, in_channels: int) -> tuple[int, ...]:
    probe: Any = timm.create_model(
        name, pretrained=False, features_only=True, in_chans=in_channels
    ).feature_info
    reductions = probe.reduction()
    if reduction not in reductions:
        raise ModelError(
            f"encoder {name!r} has features reduced {reductions} times, expected one reduced "
            f"{reduction} times. Give model.decoder_channels as many levels as log2 of one of them."
        )
    return tuple(range(reductions.index(reduction) + 1))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

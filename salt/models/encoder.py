"""Hierarchical encoders behind one checked contract, whatever timm calls them.

Contract: `encoder(images [B, C, S, S])` gives feature maps [B, channels[i], S / reductions[i],
S / reductions[i]], fine to coarse, channels second, the reductions powers of two.
"""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import nn

from salt.errors import ModelError, in_one_line
from salt.models.pretrained import find_checkpoint

LARGEST_WINDOW = 8  # a 128 pixel input has grids of 32, 16 and 8: windows of 8 divide them all
SWIN_HEAD_CHANNELS = 16
TIMM_SWIN_WIDTH = 96  # of the narrowest Swin that timm has weights of
TIMM_SWIN_HEAD_CHANNELS = 32  # of all that it has weights of


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
        blank = torch.zeros(1, in_channels, input_size, input_size)
        try:
            shapes = [tuple(feature.shape) for feature in self(blank)]
        except Exception as error:  # whatever its layers raise
            raise ModelError(
                f"the encoder cannot take {input_size} pixels ({in_one_line(error)}); expected a "
                "size that its windows and strides divide. Set model.input_size to 128, which "
                "suits most, or choose another encoder."
            ) from error
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
    appended_channels: int = 0,
) -> Encoder:
    """Build an encoder whose coarsest features are reduced 2 ** `depth` times.

    Args:
        name: `swinv2` (Swin transformer V2 sized by `width` and `depths`, Liu et al. 2022,
            arXiv:2111.09883) or any timm model with hierarchical features.
        weights: `none` (random), `imagenet` (timm's own download) or the path of a .safetensors
            file with the timm model's own keys; the first convolution is adapted to
            `in_channels`.
        appended_channels: inputs behind the images, of which weights know nothing: pretrained
            weights are adapted to `in_channels` alone, and look at the others with zeros.

    Raises:
        ModelError: unknown encoder, an input size it cannot take, no features at that depth,
            or weights that cannot be had or do not fit.
    """
    if input_size % 2**depth:
        raise ModelError(
            f"model.input_size is {input_size}, expected a multiple of {2**depth} for "
            f"{depth} levels. Use {-(-input_size // 2**depth) * 2**depth}."
        )
    stem, appended = stem_channels(in_channels, appended_channels, weights)
    name, options = timm_settings(
        name,
        input_size=input_size,
        in_channels=stem,
        depth=depth,
        width=width,
        depths=depths,
    )
    try:
        backbone = _build_backbone(name, depth, weights, options)
    except ModelError:
        raise
    except Exception as error:  # timm raises whatever its layers, loading and download raise
        raise ModelError(
            f"encoder {name!r} with weights {weights!r} could not be built for {input_size} pixels "
            f"({in_one_line(error)}). Expected a timm model with hierarchical features, and "
            "weights of that very model. Change model.encoder or model.encoder_weights."
        ) from error
    widen_stem(backbone, appended)
    return Encoder(backbone, input_size, in_channels + appended_channels)


def stem_channels(in_channels: int, appended: int, weights: str) -> tuple[int, int]:
    """Return with how many inputs to build an encoder, and by how many to widen it after."""
    if weights == "none":
        return in_channels + appended, 0
    return in_channels, appended


@torch.no_grad()
def widen_stem(backbone: nn.Module, channels: int) -> None:
    """Let the first convolution see further input channels, with weights of zero."""
    if channels:
        stem = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
        blind = stem.weight.new_zeros(stem.out_channels, channels, *stem.kernel_size)
        stem.weight = nn.Parameter(torch.cat([stem.weight, blind], dim=1))
        stem.in_channels += channels


def timm_settings(
    name: str,
    *,
    input_size: int,
    in_channels: int,
    depth: int,
    width: int,
    depths: Sequence[int],
) -> tuple[str, dict[str, Any]]:
    """Return the timm model and the options that `timm.create_model` needs for our input.

    Raises:
        ModelError: unknown encoder, or Swin stages that do not fit the depth.
    """
    options: dict[str, Any] = {"in_chans": in_channels}
    if name == "swinv2":
        return "swinv2_tiny_window8_256", options | _swin_options(input_size, width, depths, depth)
    if not timm.is_model(name):
        raise ModelError(
            f"model.encoder is {name!r}, expected swinv2 or a timm model. Choose one of "
            "timm.list_models()."
        )
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = input_size
    return name, options


def _build_backbone(name: str, depth: int, weights: str, options: dict[str, Any]) -> nn.Module:
    options = {"out_indices": _indices_up_to(name, 2**depth, options)} | options
    options["features_only"] = True
    if weights == "none":
        return timm.create_model(name, **options)
    checkpoint = find_checkpoint(name, options, weights)
    options |= {"pretrained": True, "pretrained_cfg_overlay": checkpoint.overlay}
    backbone = timm.create_model(name, **options)
    checkpoint.require_whole(backbone)
    return backbone


def _swin_options(input_size: int, width: int, depths: Sequence[int], depth: int) -> dict:
    if len(depths) != depth - 1:
        raise ModelError(
            f"model.encoder_depths has {len(depths)} stages and model.decoder_channels {depth} "
            f"levels; a Swin encoder with {depth} levels has {depth - 1} stages. Change either."
        )
    as_timm = width >= TIMM_SWIN_WIDTH
    head_channels = TIMM_SWIN_HEAD_CHANNELS if as_timm else SWIN_HEAD_CHANNELS
    return {
        "img_size": input_size,
        "embed_dim": width,
        "depths": tuple(depths),
        "num_heads": tuple(max(1, width * 2**i // head_channels) for i in range(len(depths))),
        "window_size": _window(input_size // 2**depth),
        "drop_path_rate": 0.0,
        "out_indices": tuple(range(len(depths))),
    }


def _window(coarsest_grid: int) -> int:
    """Return the largest window that divides the coarsest grid, and so all finer ones."""
    return max(w for w in range(1, LARGEST_WINDOW + 1) if coarsest_grid % w == 0)


def _indices_up_to(name: str, reduction: int, options: dict[str, Any]) -> tuple[int, ...]:
    if "out_indices" in options:
        return tuple(options["out_indices"])
    probe: Any = timm.create_model(name, features_only=True, **options).feature_info
    reductions = probe.reduction()
    if reduction not in reductions:
        raise ModelError(
            f"encoder {name!r} has features reduced {reductions} times, expected one reduced "
            f"{reduction} times. Give model.decoder_channels as many levels as log2 of one of them."
        )
    return tuple(range(reductions.index(reduction) + 1))

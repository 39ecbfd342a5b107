"""MONAI's networks in two dimensions; MONAI is optional and imported when one is built.

Their last layer is replaced by the project's own heads, so that the dropout site lies before
these. Only SegResNet shows its coarsest features: for the others presence is read from the
decoded ones.
"""

from types import ModuleType
from typing import Any

import torch
from torch import nn

from salt.errors import ModelError
from salt.models.segmenter import ModelConfig
from salt.models.zoo.layers import doubling_widths
from salt.models.zoo.network import BodyOutput, ZooNetwork, input_channels

NORMALISATIONS: dict[str, str | tuple[str, dict[str, int]]] = {
    "batch": "BATCH",
    "instance": "INSTANCE",
    "group": ("GROUP", {"num_groups": 8}),
}
ACTIVATIONS = {"relu": "RELU", "leaky_relu": "LEAKYRELU", "elu": "ELU", "silu": "SWISH"}
SWIN_MULTIPLE = 32  # four halvings behind patches of 2


class Whole(nn.Module):
    """A network that maps images straight to decoded features."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        decoded = self.network(images)
        return BodyOutput(decoded, deepest=decoded)


class Dynamic(Whole):
    """DynUNet with the logits of its deep supervision, which it keeps aside."""

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        decoded = self.network.skip_layers(images)
        supervised = self.training and self.network.deep_supervision
        coarse_to_fine = tuple(reversed(self.network.heads)) if supervised else ()
        self._forget()
        return BodyOutput(decoded, decoded, coarse_to_fine)

    def _forget(self) -> None:
        """Let go of the logits: with their graph they hold the step's memory and forbid copies."""
        self.network.heads[:] = [torch.empty(0) for _ in self.network.heads]


class ResidualEncoderDecoder(Whole):
    """SegResNet, which shows its coarsest features."""

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to full resolution."""
        deepest, features = self.network.encode(images)
        return BodyOutput(self.network.decode(deepest, features[::-1]), deepest)


def build_monai_unet(config: ModelConfig) -> ZooNetwork:
    """MONAI's residual U-Net (Kerfoot et al. 2019); its first level is already halved."""
    widths = _widths(config)
    network = _networks(config).UNet(
        spatial_dims=2,
        in_channels=input_channels(config),
        out_channels=config.width,
        channels=widths,
        strides=[2] * (len(widths) - 1),
        num_res_units=2,
        act=ACTIVATIONS[config.activation],
        norm=_normalisation(config),
        dropout=config.decoder_dropout,
    )
    return ZooNetwork(config, Whole(network), _multiple(config))


def build_attention_unet(config: ModelConfig) -> ZooNetwork:
    """Attention U-Net (Oktay et al. 2018, arXiv:1804.03999)."""
    widths = _widths(config)
    network = _networks(config).AttentionUnet(
        spatial_dims=2,
        in_channels=input_channels(config),
        out_channels=1,
        channels=widths,
        strides=[2] * (len(widths) - 1),
        dropout=config.decoder_dropout,
    )
    network.model[-1] = nn.Identity()  # the layer that reduces to classes
    return ZooNetwork(config, Whole(network), _multiple(config))


def build_dynunet(config: ModelConfig) -> ZooNetwork:
    """DynUNet, MONAI's nnU-Net (Isensee et al. 2021), optionally with deep supervision."""
    widths = _widths(config)
    halvings = len(widths) - 1
    if halvings < 2:
        raise ModelError(
            f"dynunet has {halvings} levels, expected 2 or more. Give model.decoder_channels "
            "more entries."
        )
    network = _networks(config).DynUNet(
        spatial_dims=2,
        in_channels=input_channels(config),
        out_channels=1,
        kernel_size=[3] * len(widths),
        strides=[1] + [2] * halvings,
        upsample_kernel_size=[2] * halvings,
        filters=widths,
        dropout=config.decoder_dropout or None,
        norm_name=_normalisation(config),
        deep_supervision=config.deep_supervision,
        deep_supr_num=halvings - 1,
    )
    network.output_block = nn.Identity()
    return ZooNetwork(config, Dynamic(network), _multiple(config))


def build_segresnet(config: ModelConfig) -> ZooNetwork:
    """SegResNet (Myronenko 2018, arXiv:1810.11654)."""
    levels = len(config.decoder_channels)
    network = _networks(config).SegResNet(
        spatial_dims=2,
        init_filters=config.width,
        in_channels=input_channels(config),
        out_channels=1,
        dropout_prob=config.decoder_dropout or None,
        norm=_normalisation(config),
        blocks_down=[1, *[2] * (levels - 1), 4],
        blocks_up=[1] * levels,
    )
    network.conv_final[-1] = nn.Identity()  # the layer that reduces to classes
    return ZooNetwork(config, ResidualEncoderDecoder(network), _multiple(config))


def build_swin_unetr(config: ModelConfig) -> ZooNetwork:
    """SwinUNETR (Hatamizadeh et al. 2022, arXiv:2201.01266) in two dimensions.

    Raises:
        ModelError: `config.width` is no multiple of 12, as its attention heads need.
    """
    if config.width % 12:
        raise ModelError(
            f"model.width is {config.width}, expected a multiple of 12 for swin_unetr. Use 24 or "
            "48."
        )
    network = _networks(config).SwinUNETR(
        in_channels=input_channels(config),
        out_channels=1,
        feature_size=config.width,
        norm_name=_normalisation(config),
        spatial_dims=2,
    )
    network.out = nn.Identity()
    return ZooNetwork(config, Whole(network), SWIN_MULTIPLE)


def _networks(config: ModelConfig) -> ModuleType:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise ModelError(
            f"model.architecture {config.architecture} needs MONAI, which is not installed "
            f"({error}). Run `pip install 'monai[einops]'`, or choose another architecture."
        ) from error
    return nets


def _widths(config: ModelConfig) -> list[int]:
    return doubling_widths(config.width, len(config.decoder_channels))


def _multiple(config: ModelConfig) -> int:
    return 2 ** len(config.decoder_channels)


def _normalisation(config: ModelConfig) -> str | tuple[str, dict[str, int]]:
    if config.normalisation not in NORMALISATIONS:
        raise ModelError(
            f"model.normalisation is {config.normalisation} for {config.architecture}, expected "
            f"one of {', '.join(NORMALISATIONS)}. Choose one of these."
        )
    return NORMALISATIONS[config.normalisation]

"""Our own small networks, as the settings ask for them."""

from typing import Any

from salt.models.segmenter import ModelConfig
from salt.models.zoo.layers import Style
from salt.models.zoo.network import ZooNetwork, input_channels
from salt.models.zoo.plain_unet import PlainUnet
from salt.models.zoo.psp_unet import PspUnet
from salt.models.zoo.residual_unet import ResidualUnet
from salt.models.zoo.segnet import SegNet


def build_plain_unet(config: ModelConfig) -> ZooNetwork:
    """The plain U-Net; see `PlainUnet`."""
    body = PlainUnet(
        **_settings(config),
        upsampling=config.upsampling,
        skip_attention=config.skip_attention,
        deep_supervision=config.deep_supervision,
        depth_inside=config.depth_input == "inside",
        hypercolumn=config.hypercolumn,
    )
    return ZooNetwork(config, body, 2 ** len(config.decoder_channels))


def build_residual_unet(config: ModelConfig) -> ZooNetwork:
    """The residual U-Net on unpadded tiles; see `ResidualUnet`."""
    body = ResidualUnet(
        **_settings(config),
        depth_inside=config.depth_input == "inside",
        hypercolumn=config.hypercolumn,
    )
    return ZooNetwork(config, body)


def build_segnet(config: ModelConfig) -> ZooNetwork:
    """SegNet on unpadded tiles; see `SegNet`."""
    return ZooNetwork(config, SegNet(**_settings(config)))


def build_psp_unet(config: ModelConfig) -> ZooNetwork:
    """The small PSP-U-Net; see `PspUnet`."""
    body = PspUnet(**_settings(config), scse=config.attention == "scse")
    return ZooNetwork(config, body, 2 ** len(config.decoder_channels))


def _settings(config: ModelConfig) -> dict[str, Any]:
    """Return what all of them are built with."""
    return {
        "in_channels": input_channels(config),
        "width": config.width,
        "levels": len(config.decoder_channels),
        "style": Style(config.normalisation, config.activation, config.decoder_dropout),
    }

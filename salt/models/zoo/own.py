"""Our own small networks, as the settings ask for them."""

from salt.models.segmenter import ModelConfig
from salt.models.zoo.network import ZooNetwork, input_channels
from salt.models.zoo.plain_unet import PlainUnet
from salt.models.zoo.psp_unet import PspUnet
from salt.models.zoo.residual_unet import ResidualUnet
from salt.models.zoo.segnet import SegNet


def build_plain_unet(config: ModelConfig) -> ZooNetwork:
    """The plain U-Net; see `PlainUnet`."""
    body = PlainUnet(
        input_channels(config),
        width=config.width,
        levels=len(config.decoder_channels),
        normalisation=config.normalisation,
        activation=config.activation,
        dropout=config.decoder_dropout,
        upsampling=config.upsampling,
        skip_attention=config.skip_attention,
        deep_supervision=config.deep_supervision,
    )
    return ZooNetwork(config, body, 2 ** len(config.decoder_channels))


def build_residual_unet(config: ModelConfig) -> ZooNetwork:
    """The residual U-Net on unpadded tiles; see `ResidualUnet`."""
    body = ResidualUnet(
        input_channels(config),
        width=config.width,
        levels=len(config.decoder_channels),
        normalisation=config.normalisation,
        activation=config.activation,
        dropout=config.decoder_dropout,
    )
    return ZooNetwork(config, body)


def build_segnet(config: ModelConfig) -> ZooNetwork:
    """SegNet on unpadded tiles; see `SegNet`."""
    body = SegNet(
        input_channels(config),
        width=config.width,
        levels=len(config.decoder_channels),
        normalisation=config.normalisation,
        activation=config.activation,
        dropout=config.decoder_dropout,
    )
    return ZooNetwork(config, body)


def build_psp_unet(config: ModelConfig) -> ZooNetwork:
    """The small PSP-U-Net; see `PspUnet`."""
    body = PspUnet(
        input_channels(config),
        width=config.width,
        levels=len(config.decoder_channels),
        normalisation=config.normalisation,
        activation=config.activation,
        dropout=config.decoder_dropout,
        scse=config.attention == "scse",
    )
    return ZooNetwork(config, body, 2 ** len(config.decoder_channels))

"""Decoders of segmentation-models-pytorch on any timm encoder.

The library's encoder and decoder are taken, its segmentation head is not: the project's own
heads stand behind a dropout site, see `salt.models.zoo.network`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from salt.models.encoder import stem_channels, timm_settings, widen_stem
from salt.models.pretrained import find_checkpoint
from salt.models.segmenter import ModelConfig
from salt.models.zoo.network import BodyOutput, ZooNetwork, input_channels, padded_size

ATROUS_RATES = (2, 4, 6)  # the paper's 6, 12, 18 are for grids of 32, a tile's coarsest has 8

OPTIONS: dict[str, Callable[[ModelConfig], dict[str, Any]]] = {
    "UnetPlusPlus": lambda config: {
        "decoder_channels": config.decoder_channels,
        "decoder_attention_type": "scse" if config.attention == "scse" else None,
    },
    "DeepLabV3Plus": lambda config: {
        "decoder_channels": config.decoder_channels[0],
        "decoder_atrous_rates": ATROUS_RATES,
        "decoder_aspp_dropout": config.decoder_dropout,
    },
    "PSPNet": lambda config: {
        "psp_out_channels": config.decoder_channels[0],
        "psp_dropout": config.decoder_dropout,
    },
    "Linknet": lambda _: {},
    "FPN": lambda config: {
        "decoder_pyramid_channels": config.decoder_channels[0],
        "decoder_segmentation_channels": config.decoder_channels[1],
        "decoder_dropout": config.decoder_dropout,
    },
    "UPerNet": lambda config: {"decoder_channels": config.decoder_channels[0]},
    "MAnet": lambda config: {"decoder_channels": config.decoder_channels},
    "Segformer": lambda config: {"decoder_segmentation_channels": config.decoder_channels[0]},
}


class EncoderDecoder(nn.Module):
    """An smp model without its head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] to the resolution at which the decoder ends."""
        features = self.encoder(images)
        return BodyOutput(decoded=self.decoder(list(features)), deepest=features[-1])


def build_smp(config: ModelConfig, model_class: str) -> ZooNetwork:
    """Build one of `OPTIONS` with as many halvings as `config.decoder_channels` has entries.

    Weights are those of `salt.models.encoder.build_encoder`, refused unless whole.

    Raises:
        ModelError: the encoder is unknown, or the weights are not its own.
    """
    import segmentation_models_pytorch as smp

    depth, weights = len(config.decoder_channels), config.encoder_weights
    multiple = 2**depth
    in_channels, appended = stem_channels(
        config.stack_width, input_channels(config) - config.stack_width, weights
    )
    name, timm_options = timm_settings(
        config.encoder,
        input_size=padded_size(config.input_size, multiple),
        in_channels=in_channels,
        depth=depth,
        width=config.encoder_width,
        depths=config.encoder_depths,
    )
    passed = {key: timm_options[key] for key in timm_options.keys() - {"in_chans", "out_indices"}}
    checkpoint = None
    if weights != "none":
        checkpoint = find_checkpoint(name, timm_options, weights)
        passed["pretrained_cfg_overlay"] = checkpoint.overlay
    model = getattr(smp, model_class)(
        f"tu-{name}",
        encoder_depth=depth,
        encoder_weights=None if checkpoint is None else True,
        in_channels=in_channels,
        **OPTIONS[model_class](config),
        **passed,
    )
    if model_class == "UnetPlusPlus":  # its last block would attend to a skip it does not have
        model.decoder.blocks[f"x_0_{depth - 1}"].attention1 = nn.Identity()
    if checkpoint is not None:
        checkpoint.require_whole(model.encoder.model)
    widen_stem(model.encoder.model, appended)
    return ZooNetwork(config, EncoderDecoder(model), multiple)

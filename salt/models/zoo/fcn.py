"""FCN (Long et al. 2015, arXiv:1411.4038) as torchvision has it: a head on coarse features."""

import torch
from torch import nn
from torchvision.models.segmentation.fcn import FCNHead

from salt.models.encoder import Encoder, build_encoder
from salt.models.segmenter import ModelConfig
from salt.models.zoo.network import BodyOutput, ZooNetwork, input_channels, padded_size


class CoarseHead(nn.Module):
    """torchvision's FCN head, but its dropout and last layer, on an encoder's coarsest features."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(*list(FCNHead(encoder.channels[-1], 1))[:-2])

    def forward(self, images: torch.Tensor) -> BodyOutput:
        """Decode [B, C, S, S] at the encoder's coarsest resolution."""
        deepest = self.encoder(images)[-1]
        return BodyOutput(self.head(deepest), deepest)


def build_fcn(config: ModelConfig) -> ZooNetwork:
    """Build an FCN whose features are reduced 2 ** len(config.decoder_channels) times.

    Raises:
        ModelError: see `salt.models.encoder.build_encoder`.
    """
    depth = len(config.decoder_channels)
    encoder = build_encoder(
        config.encoder,
        input_size=padded_size(config.input_size, 2**depth),
        in_channels=config.stack_width,
        appended_channels=input_channels(config) - config.stack_width,
        depth=depth,
        width=config.encoder_width,
        depths=config.encoder_depths,
        weights=config.encoder_weights,
    )
    return ZooNetwork(config, CoarseHead(encoder), 2**depth)

"""Any encoder-decoder body behind the signature that the pipeline knows."""

from typing import NamedTuple

import torch
from torch import nn

from salt.errors import ModelError, in_one_line
from salt.models.decoder import DropoutSite, enlarged
from salt.models.inputs import InputChannels, depth_channel
from salt.models.segmenter import ModelConfig, Network, PresenceHead, Segmentation, pool
from salt.padding import crop, pad


class BodyOutput(NamedTuple):
    """What a body makes of images [B, C, S, S].

    Attributes:
        decoded: [B, D, h, w], what the mask is read from, at any resolution.
        deepest: [B, E, h', w'], what presence is read from: the coarsest features, or
            `decoded` again where the architecture does not show them.
        auxiliary: in training with deep supervision, logits [B, 1, h'', w''] of coarser levels,
            coarse to fine; otherwise none.
    """

    decoded: torch.Tensor
    deepest: torch.Tensor
    auxiliary: tuple[torch.Tensor, ...] = ()


class ZooNetwork(Network):
    """A body with the project's input channels, dropout sites, mask head and presence head.

    Images are reflect-padded inside to the next multiple of `multiple` and the logits cropped,
    so that any `config.input_size` fits. A dropout site lies before each head: Monte Carlo
    passes repeat these alone. Dropout within the body is active in training only.

    Args:
        body: maps images [B, C, S, S] to a `BodyOutput`, where `config.depth_input` is `inside`
            with depths [B, 1, 1, 1] behind them; keeps its encoder, if it has one, as `encoder`.
        multiple: what S must divide by.

    Raises:
        ModelError: the body cannot take the padded size.
    """

    def __init__(self, config: ModelConfig, body: nn.Module, multiple: int = 1) -> None:
        super().__init__()
        self.config = config
        self.padded = padded_size(config.input_size, multiple)
        self.inputs = InputChannels(config.coordinates, config.features, config.depth_input)
        self.body = body
        decoded, deepest = self._probe()
        self.dropout = DropoutSite(config.decoder_dropout)
        self.mask_head = nn.Conv2d(decoded, 1, 3, padding=1)
        dropout = config.decoder_dropout
        self.presence_head = PresenceHead(deepest, dropout) if config.presence_head else None

    @property
    def image_encoder(self) -> nn.Module | None:
        """The body's encoder, if it has one."""
        return getattr(self.body, "encoder", None)

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return decoded, deepest and auxiliary maps; nothing in here is random in inference."""
        if images.shape[-1] != self.config.input_size:
            raise ModelError(
                f"the network got tiles of {images.shape[-1]} pixels, expected "
                f"{self.config.input_size}. Pad them to model.input_size."
            )
        inside = self.config.depth_input == "inside"
        depth = [depth_channel(images, torch.Size((1, 1)))] if inside else []
        images = self.inputs(images)
        if self.padded != self.config.input_size:
            images = pad(images, self.padded)
        output = self.body(images, *depth)
        return [output.decoded, output.deepest, *output.auxiliary]

    def decode(self, features: list[torch.Tensor]) -> Segmentation:
        """Turn feature maps into logits; the dropout sites lie in here."""
        decoded, deepest, *auxiliary = features
        return Segmentation(
            self._full_size(self.mask_head(self.dropout(decoded))),
            None if self.presence_head is None else self.presence_head(pool(deepest)),
            tuple(self._full_size(logits) for logits in auxiliary),
        )

    def _full_size(self, logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[-1] != self.padded:
            logits = enlarged(logits, torch.Size((self.padded, self.padded)))
        return crop(logits, self.config.input_size)

    @torch.no_grad()
    def _probe(self) -> tuple[int, int]:
        """Run the body once on a blank tile and return the channels it gives."""
        blank = [torch.zeros(1, input_channels(self.config), self.padded, self.padded)]
        if self.config.depth_input == "inside":
            blank.append(torch.zeros(1, 1, 1, 1))
        self.body.eval()
        try:
            output = self.body(*blank)
        except Exception as error:  # whatever a library's layers raise
            raise ModelError(
                f"{self.config.architecture} cannot take {self.padded} pixels "
                f"({in_one_line(error)}). Change model.input_size, model.encoder or the number of "
                "model.decoder_channels."
            ) from error
        self.body.train()
        return output.decoded.shape[1], output.deepest.shape[1]


def padded_size(size: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `size`."""
    return -(-size // multiple) * multiple


def input_channels(config: ModelConfig) -> int:
    """Return how many channels a body sees: the stack and what `InputChannels` appends."""
    inputs = InputChannels(config.coordinates, config.features, config.depth_input)
    return config.stack_width + inputs.extra

"""The refiner: a small U-Net that redraws a probability map from image and uncertainty."""

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.decoder import ConvBlock

INPUTS = 4  # image, logit of the mean probability, entropy, mutual information
LOGIT_LIMIT = 6.0  # logits of probabilities are clamped to +-6, that is 0.0025 to 0.9975
MULTIPLE = 4  # input sides must divide by this


class Refiner(nn.Module):
    """Three-level U-Net whose output is added to the logits it is given.

    The last convolution starts at zero, so an untrained refiner changes nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(ConvBlock(INPUTS, width), ConvBlock(width, width))
        self.middle = nn.Sequential(ConvBlock(width, 2 * width), ConvBlock(2 * width, 2 * width))
        self.coarse = nn.Sequential(
            ConvBlock(2 * width, 4 * width), ConvBlock(4 * width, 4 * width)
        )
        self.up_middle = ConvBlock(6 * width, 2 * width)
        self.up_fine = ConvBlock(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return refined logits [B, 1, S, S] for inputs [B, INPUTS, S, S] from `stack_inputs`."""
        fine = self.fine(inputs)
        middle = self.middle(F.max_pool2d(fine, 2))
        coarse = self.coarse(F.max_pool2d(middle, 2))
        middle = self.up_middle(torch.cat([_doubled(coarse), middle], dim=1))
        fine = self.up_fine(torch.cat([_doubled(middle), fine], dim=1))
        return inputs[:, 1:2] * LOGIT_LIMIT + self.head(fine)


def stack_inputs(
    images: torch.Tensor,
    mean: torch.Tensor,
    entropy: torch.Tensor,
    mutual_information: torch.Tensor,
) -> torch.Tensor:
    """Return the refiner's inputs [B, INPUTS, S, S], each about within [-1, 1].

    Args:
        images: [B, S, S], normalised as for the segmenter.
        mean: [B, S, S] salt probability.
        entropy, mutual_information: [B, S, S], as shares of their maximum.
    """
    logits = torch.logit(mean.clamp(1e-4, 1 - 1e-4)).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return torch.stack([images, logits / LOGIT_LIMIT, entropy, mutual_information], dim=1)


def _doubled(features: torch.Tensor) -> torch.Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")

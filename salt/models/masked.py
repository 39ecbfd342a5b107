"""Masked image modelling: hide squares of the input, learn to draw them from what is left.

SimMIM (Xie et al. 2022, arXiv:2111.09886) with the U-Net decoder in place of its linear
head, so that encoder and decoder are both warmed up: hidden squares are replaced in the
*input* by a learnt value, and the loss is L1 over hidden pixels alone.
"""

import torch
import torch.nn.functional as F
from torch import nn

from salt.models.segmenter import Network


def random_squares(
    batch: int, size: int, patch_size: int, mask_ratio: float, generator: torch.Generator
) -> torch.Tensor:
    """Return [batch, 1, size, size] in {0, 1}: 1 where hidden, `mask_ratio` of the squares.

    The last row and column of squares are cut off if `patch_size` does not divide `size`.
    """
    grid = -(-size // patch_size)
    hidden_count = round(mask_ratio * grid * grid)
    order = torch.rand(batch, grid * grid, generator=generator).argsort(dim=1)
    hidden = (order < hidden_count).float().view(batch, 1, grid, grid)
    full = F.interpolate(hidden, scale_factor=patch_size, mode="nearest")
    return full[:, :, :size, :size]


class MaskedModel(nn.Module):
    """A segmenter whose mask head draws amplitudes, and the value that hides a pixel."""

    def __init__(self, segmenter: Network) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.mask_token = nn.Parameter(torch.zeros(1, segmenter.config.stack_width, 1, 1))

    def forward(self, images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Draw the own tile from images [B, C, S, S] with `hidden` [B, 1, S, S] replaced.

        All stack channels are hidden in the same places, or a neighbour would give it away; a
        depth behind them is told.
        """
        width = self.segmenter.config.stack_width
        masked = images[:, :width] * (1 - hidden) + self.mask_token * hidden
        if images.shape[1] > width:
            masked = torch.cat([masked, images[:, width:]], dim=1)
        return self.segmenter(masked).mask_logits  # [B, 1, S, S]


def reconstruction_loss(
    drawn: torch.Tensor, images: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Mean absolute error over hidden pixels of the own (middle) channel of stacks [B, C, S, S]."""
    own = images[:, images.shape[1] // 2][:, None]
    return ((drawn - own).abs() * hidden).sum() / hidden.sum().clamp(min=1)

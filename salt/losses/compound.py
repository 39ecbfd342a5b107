"""The weighted sum of losses that training minimises."""

from dataclasses import dataclass

import torch

from salt.losses.boundary import boundary_loss
from salt.losses.dice import dice_loss
from salt.losses.focal import focal_loss
from salt.losses.lovasz import symmetric_lovasz
from salt.losses.presence import presence_loss
from salt.models.segmenter import Segmentation
from salt.padding import crop


@dataclass(frozen=True)
class LossConfig:
    """The section `loss` of params.yaml; a weight of 0 leaves its term out."""

    dice_weight: float
    bce_weight: float
    focal_weight: float
    focal_gamma: float
    lovasz_weight: float
    boundary_weight: float
    presence_weight: float


def compound_loss(
    output: Segmentation,
    masks: torch.Tensor,
    valid: torch.Tensor,
    distance: torch.Tensor,
    config: LossConfig,
    own_size: int | None = None,
) -> torch.Tensor:
    """Return the weighted sum of the terms whose weight is not 0.

    Args:
        output: logits at the masks' size (padding already cropped off).
        masks, valid, distance: [B, 1, H, W], see `salt.dataset.Batch`.
        own_size: side of the tiles in the middle of canvases with real margins: presence is
            about the tile. None: tiles without margins.
    """
    logits = output.mask_logits.float()  # bf16 has too few digits for sums over a tile
    total = logits.new_zeros(())
    if config.dice_weight:
        total = total + config.dice_weight * dice_loss(logits, masks, valid)
    if config.bce_weight:
        total = total + config.bce_weight * focal_loss(logits, masks, valid, gamma=0.0)
    if config.focal_weight:
        total = total + config.focal_weight * focal_loss(logits, masks, valid, config.focal_gamma)
    if config.lovasz_weight:
        total = total + config.lovasz_weight * symmetric_lovasz(logits, masks, valid)
    if config.boundary_weight:
        total = total + config.boundary_weight * boundary_loss(logits, distance, valid)
    if config.presence_weight and output.presence_logits is not None:
        presence_logits = output.presence_logits.float()
        own = (crop(labels, own_size or labels.shape[-1]) for labels in (masks, valid))
        total = total + config.presence_weight * presence_loss(presence_logits, *own)
    return total

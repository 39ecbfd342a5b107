"""The weighted sum of losses that training minimises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from salt.losses.boundary import boundary_loss
from salt.losses.dice import dice_loss
from salt.losses.distance_weighted import distance_weighted_loss
from salt.losses.focal import focal_loss
from salt.losses.iou import focal_iou_loss, iou_loss
from salt.losses.lovasz import lovasz_hinge, symmetric_lovasz
from salt.losses.presence import presence_loss
from salt.losses.schedule import LossPhase, weights_at
from salt.losses.topology import topology_loss
from salt.losses.total_variation import total_variation_loss
from salt.losses.tversky import tversky_loss
from salt.models.segmenter import Segmentation
from salt.padding import crop


@dataclass(frozen=True)
class LossConfig:
    """The section `loss` of params.yaml; a weight of 0 leaves its term out."""

    dice_weight: float = 0.0
    bce_weight: float = 0.0
    focal_weight: float = 0.0
    focal_gamma: float = 2.0
    lovasz_weight: float = 0.0
    lovasz_hinge_weight: float = 0.0
    boundary_weight: float = 0.0
    distance_weight: float = 0.0
    iou_weight: float = 0.0
    focal_iou_weight: float = 0.0
    focal_iou_gamma: float = 2.0
    tversky_weight: float = 0.0
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    topology_weight: float = 0.0
    topology_iterations: int = 10
    total_variation_weight: float = 0.0
    presence_weight: float = 0.0
    auxiliary_weight: float = 0.0
    schedule: tuple[LossPhase, ...] = ()

    def at(self, share: float) -> "LossConfig":
        """Return the settings at a share of training: 0 in its first epoch, 1 in its last."""
        weights = {name: value for name, value in vars(self).items() if name.endswith("_weight")}
        return replace(self, **weights_at(weights, self.schedule, share))

    def ever(self, name: str) -> bool:
        """Return whether the weight of that name is above 0 at any time of training."""
        scheduled = [phase.weights.get(name, 0.0) for phase in self.schedule]
        return max([getattr(self, name), *scheduled]) > 0

    def needs_distances(self) -> bool:
        """Return whether any term looks at distance maps, which cost time."""
        return self.ever("boundary_weight") or self.ever("distance_weight")


class Targets(NamedTuple):
    """Masks, valid pixels and signed distances, each [B, 1, H, W]; see `salt.dataset.Batch`."""

    masks: torch.Tensor
    valid: torch.Tensor
    distance: torch.Tensor


PixelLoss = Callable[[torch.Tensor, Targets, LossConfig], torch.Tensor]
PIXEL_LOSSES: dict[str, PixelLoss] = {
    "dice": lambda logits, to, _: dice_loss(logits, to.masks, to.valid),
    "bce": lambda logits, to, _: focal_loss(logits, to.masks, to.valid, gamma=0.0),
    "focal": lambda logits, to, by: focal_loss(logits, to.masks, to.valid, by.focal_gamma),
    "lovasz": lambda logits, to, _: symmetric_lovasz(logits, to.masks, to.valid),
    "boundary": lambda logits, to, _: boundary_loss(logits, to.distance, to.valid),
    "distance": lambda logits, to, _: distance_weighted_loss(logits, *to),
    "lovasz_hinge": lambda logits, to, _: lovasz_hinge(logits, to.masks, to.valid),
    "iou": lambda logits, to, _: iou_loss(logits, to.masks, to.valid),
    "focal_iou": lambda logits, to, by: focal_iou_loss(
        logits, to.masks, to.valid, by.focal_iou_gamma
    ),
    "tversky": lambda logits, to, by: tversky_loss(
        logits, to.masks, to.valid, by.tversky_alpha, by.tversky_beta
    ),
    "topology": lambda logits, to, by: topology_loss(
        logits, to.masks, to.valid, by.topology_iterations
    ),
    "total_variation": lambda logits, to, _: total_variation_loss(logits, to.valid),
}


def loss_config(settings: Mapping[str, Any]) -> LossConfig:
    """Build the settings from params.yaml's section, whose phases are mappings."""
    phases = tuple(LossPhase(**phase) for phase in settings["schedule"])
    return LossConfig(**{**settings, "schedule": phases})


def compound_loss(
    output: Segmentation,
    masks: torch.Tensor,
    valid: torch.Tensor,
    distance: torch.Tensor,
    config: LossConfig,
    own_size: int | None = None,
) -> torch.Tensor:
    """Return the weighted sum of the terms whose weight is not 0.

    Auxiliary logits are scored by the same pixel terms; their mean counts `auxiliary_weight`.

    Args:
        output: logits at the masks' size (padding already cropped off).
        masks, valid, distance: [B, 1, H, W], see `salt.dataset.Batch`.
        config: with the weights of the epoch, see `LossConfig.at`.
        own_size: side of the tiles in the middle of canvases with real margins: presence is
            about the tile. None: tiles without margins.
    """
    targets = Targets(masks, valid, distance)
    total = pixel_loss(output.mask_logits, targets, config)
    if config.presence_weight and output.presence_logits is not None:
        presence_logits = output.presence_logits.float()
        own = (crop(labels, own_size or labels.shape[-1]) for labels in (masks, valid))
        total = total + config.presence_weight * presence_loss(presence_logits, *own)
    if config.auxiliary_weight and output.auxiliary:
        further = [pixel_loss(logits, targets, config) for logits in output.auxiliary]
        total = total + config.auxiliary_weight * torch.stack(further).mean()
    return total


def pixel_loss(logits: torch.Tensor, targets: Targets, config: LossConfig) -> torch.Tensor:
    """Return the weighted sum of the pixel terms on [B, 1, H, W] logits of any precision."""
    logits = logits.float()  # bf16 has too few digits for sums over a tile
    total = logits.new_zeros(())
    for name, loss in PIXEL_LOSSES.items():
        weight = getattr(config, f"{name}_weight")
        if weight:
            total = total + weight * loss(logits, targets, config)
    return total

"""Soft centreline Dice, which asks for connected parts alike (Shit et al. 2021, arXiv:2003.07311).

Made for vessels. A salt body thicker than 2 * `iterations` pixels keeps no full skeleton, so
for thick bodies it compares what is left of their ridges: cheap, but no proof of topology.
"""

import torch
import torch.nn.functional as F


def topology_loss(
    logits: torch.Tensor,
    masks: torch.Tensor,
    valid: torch.Tensor,
    iterations: int,
    smoothing: float = 1.0,
) -> torch.Tensor:
    """Return 1 - the harmonic mean of topology precision and sensitivity, averaged over tiles.

    Precision is the share of the prediction's skeleton that lies in the mask, sensitivity the
    share of the mask's skeleton that is predicted (eq. 1 and 2).

    Args:
        logits, masks, valid: [B, 1, H, W]; ignored pixels count as rock on both sides.
        iterations: erosions of the skeleton; 2 * iterations pixels is the thickest body it thins.
        smoothing: pixels added above and below each share.
    """
    probability = torch.sigmoid(logits) * valid
    masks = masks * valid
    precision = _share(soft_skeleton(probability, iterations), masks, smoothing)
    sensitivity = _share(soft_skeleton(masks, iterations), probability, smoothing)
    return (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()


def soft_skeleton(maps: torch.Tensor, iterations: int) -> torch.Tensor:
    """Return the ridges of [B, 1, H, W] maps in [0, 1] (algorithm 1 of the paper)."""
    skeleton = F.relu(maps - _opened(maps))
    for _ in range(iterations):
        maps = _eroded(maps)
        ridge = F.relu(maps - _opened(maps))
        skeleton = skeleton + (1 - skeleton) * ridge
    return skeleton


def _share(skeleton: torch.Tensor, maps: torch.Tensor, smoothing: float) -> torch.Tensor:
    inside = (skeleton * maps).sum((1, 2, 3))
    return (inside + smoothing) / (skeleton.sum((1, 2, 3)) + smoothing)


def _eroded(maps: torch.Tensor) -> torch.Tensor:
    """Minimum over the cross of four neighbours; beyond the tile nothing is asked."""
    rows = -F.max_pool2d(-maps, (3, 1), 1, (1, 0))
    columns = -F.max_pool2d(-maps, (1, 3), 1, (0, 1))
    return torch.minimum(rows, columns)


def _opened(maps: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(_eroded(maps), 3, 1, 1)

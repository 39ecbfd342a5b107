"""Cross-entropy weighted by nearness to the salt boundary (Caliva et al. 2019, arXiv:1908.03679).

Unlike the signed-distance form (boundary.py) it is never negative and can stand alone.
"""

import torch
import torch.nn.functional as F


def distance_weighted_loss(
    logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor, distance: torch.Tensor
) -> torch.Tensor:
    """Return the mean of (1 + nearness) times cross-entropy over valid pixels (eq. 1).

    Nearness is the paper's inverted distance map, scaled per tile: 1 at the boundary, 0 at
    the pixel furthest from it, and 0 everywhere in a tile of one class.

    Args:
        logits, masks, valid: [B, 1, H, W]; pixels with `valid` 0 are left out.
        distance: [B, 1, H, W], signed distance to the boundary, zero in a tile of one class.
    """
    away = distance.abs() * valid
    furthest = away.amax((1, 2, 3), keepdim=True)  # [B, 1, 1, 1]
    nearness = torch.where(furthest > 0, 1 - away / furthest.clamp(min=1e-8), 0)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return ((1 + nearness) * entropy * valid).sum() / valid.sum().clamp(min=1)

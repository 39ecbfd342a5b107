"""Soft Dice loss (Milletari et al. 2016, arXiv:1606.04797)."""

import torch


def dice_loss(
    logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor, smoothing: float = 1.0
) -> torch.Tensor:
    """Return 1 - (2 |P M| + s) / (|P| + |M| + s) per tile, averaged over the batch.

    Args:
        logits, masks, valid: [B, 1, H, W]; pixels with `valid` 0 are left out.
        smoothing: s, in pixels; a tile without salt then costs |P| / (|P| + s).
    """
    probability = torch.sigmoid(logits) * valid
    masks = masks * valid
    overlap = (probability * masks).sum((1, 2, 3))
    total = (probability + masks).sum((1, 2, 3))
    return (1 - (2 * overlap + smoothing) / (total + smoothing)).mean()

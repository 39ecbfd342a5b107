"""Boundary loss on signed distance maps (Kervadec et al. 2019, arXiv:1812.07032)."""

import torch


def boundary_loss(
    logits: torch.Tensor, distance: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Return the mean of probability times signed distance over valid pixels (eq. 6).

    Salt predicted far outside the truth costs most; it is negative where the truth's inside
    is found, so its minimum is below zero.

    Args:
        logits, valid: [B, 1, H, W].
        distance: [B, 1, H, W], negative inside salt, as a share of a tile's side.
    """
    return (torch.sigmoid(logits) * distance * valid).sum() / valid.sum().clamp(min=1)

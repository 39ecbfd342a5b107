"""Focal loss (Lin et al. 2017, arXiv:1708.02002) and, at gamma 0, binary cross-entropy."""

import torch
import torch.nn.functional as F


def focal_loss(
    logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor, gamma: float
) -> torch.Tensor:
    """Return mean of (1 - p_t)^gamma * -log(p_t) over valid pixels; p_t is the truth's share.

    Args:
        logits, masks, valid: [B, 1, H, W]; pixels with `valid` 0 are left out.
        gamma: 0 is plain cross-entropy; larger values care less for easy pixels.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    missed = (1 - torch.exp(-cross_entropy)).clamp(min=1e-8)  # 1 - p_t
    weights = missed.pow(gamma) if gamma else torch.ones_like(missed)
    return (weights * cross_entropy * valid).sum() / valid.sum().clamp(min=1)

"""Tversky loss (Salehi et al. 2017, arXiv:1706.05721)."""

import torch


def tversky_loss(
    logits: torch.Tensor,
    masks: torch.Tensor,
    valid: torch.Tensor,
    alpha: float,
    beta: float,
    smoothing: float = 1.0,
) -> torch.Tensor:
    """Return 1 - (TP + s) / (TP + alpha FP + beta FN + s) per tile, averaged (eq. 4).

    With alpha = beta = 0.5 it is Dice (of half the smoothing), with 1 and 1 it is IoU.

    Args:
        logits, masks, valid: [B, 1, H, W]; pixels with `valid` 0 are left out.
        alpha: price of a false positive; beta: of a false negative.
        smoothing: s, in pixels.
    """
    probability = torch.sigmoid(logits) * valid
    masks = masks * valid
    found = (probability * masks).sum((1, 2, 3))
    invented = probability.sum((1, 2, 3)) - found
    missed = masks.sum((1, 2, 3)) - found
    score = (found + smoothing) / (found + alpha * invented + beta * missed + smoothing)
    return (1 - score).mean()

"""Soft intersection over union (Rahman and Wang 2016, ISVC, doi:10.1007/978-3-319-50835-1_22)."""

import torch


def soft_iou(
    logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor, smoothing: float = 1.0
) -> torch.Tensor:
    """Return (|P M| + s) / (|P| + |M| - |P M| + s) per tile: [B], in (0, 1].

    Args:
        logits, masks, valid: [B, 1, H, W]; pixels with `valid` 0 are left out.
        smoothing: s, in pixels; a tile without salt then has s / (|P| + s).
    """
    probability = torch.sigmoid(logits) * valid
    masks = masks * valid
    overlap = (probability * masks).sum((1, 2, 3))
    union = (probability + masks).sum((1, 2, 3)) - overlap
    return (overlap + smoothing) / (union + smoothing)


def iou_loss(
    logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor, smoothing: float = 1.0
) -> torch.Tensor:
    """Return 1 - soft IoU, averaged over tiles (eq. 3 to 5); arguments as in `soft_iou`."""
    return (1 - soft_iou(logits, masks, valid, smoothing)).mean()


def focal_iou_loss(
    logits: torch.Tensor,
    masks: torch.Tensor,
    valid: torch.Tensor,
    gamma: float,
    smoothing: float = 1.0,
) -> torch.Tensor:
    """Return (1 - soft IoU)^gamma, averaged over tiles.

    The focal form of a region loss (Abraham and Khan 2018, arXiv:1810.07842, whose 1 / gamma
    is our gamma): above 1, tiles that fit already count less; below 1, they count more.
    """
    missed = (1 - soft_iou(logits, masks, valid, smoothing)).clamp(min=1e-8)  # 0 has no slope
    return missed.pow(gamma).mean()

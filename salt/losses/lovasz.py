"""Lovasz hinge for binary masks (Berman et al. 2018, arXiv:1705.08790), symmetric form."""

import torch
import torch.nn.functional as F


def lovasz_hinge(logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the Lovasz extension of 1 - IoU at the hinge errors, per tile, averaged.

    The hinge is softened to elu(error) + 1 (as competitors found trains better than relu):
    every pixel keeps a gradient.

    Args:
        logits, masks, valid: [B, 1, H, W]; pixels with `valid` 0 are left out.
    """
    logits, masks, valid = (tensor.flatten(1) for tensor in (logits, masks, valid))
    errors = 1 - logits * (2 * masks - 1)
    errors = errors.masked_fill(valid == 0, -1e4)  # sorted last, and elu + 1 of it is 0
    ordered, permutation = errors.sort(dim=1, descending=True)
    weights = jaccard_steps((masks * valid).gather(1, permutation))
    return ((F.elu(ordered) + 1) * weights).sum(1).mean()


def symmetric_lovasz(
    logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Return the mean of the hinge for salt and the hinge for what is not salt."""
    return (lovasz_hinge(logits, masks, valid) + lovasz_hinge(-logits, 1 - masks, valid)) / 2


def jaccard_steps(ordered_masks: torch.Tensor) -> torch.Tensor:
    """Return how much 1 - IoU grows with each further wrong pixel: [B, N], rows summing to 1.

    Args:
        ordered_masks: [B, N] in {0, 1}, by falling error (algorithm 1 of the paper).
    """
    positives = ordered_masks.sum(1, keepdim=True)
    intersection = positives - ordered_masks.cumsum(1)
    union = positives + (1 - ordered_masks).cumsum(1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)

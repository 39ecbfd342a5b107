"""Loss of the presence head: does the tile hold any salt?"""

import torch
import torch.nn.functional as F


def presence_loss(
    presence_logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Return the binary cross-entropy of [B, 1] logits against "any valid salt pixel"."""
    present = (masks * valid).amax((1, 2, 3))[:, None]
    return F.binary_cross_entropy_with_logits(presence_logits, present)

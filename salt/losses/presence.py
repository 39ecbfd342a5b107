"""Loss of the presence head: does the tile hold any salt?"""

import torch
import torch.nn.functional as F


def presence_loss(
    presence_logits: torch.Tensor, masks: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Return the mean binary cross-entropy of [B, 1] logits against "any valid salt pixel".

    A tile without a valid pixel [B, 1, H, W] is left out: nothing is known of it. Salt that an
    otherwise valid tile may hide under ignored pixels does not count.
    """
    present = (masks * valid).amax((1, 2, 3))[:, None]
    known = valid.amax((1, 2, 3))[:, None]
    entropy = F.binary_cross_entropy_with_logits(presence_logits, present, reduction="none")
    return (entropy * known).sum() / known.sum().clamp(min=1)

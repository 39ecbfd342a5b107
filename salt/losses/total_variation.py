"""Total variation of the probability map (Rudin, Osher and Fatemi 1992, Physica D 60, 259)."""

import torch


def total_variation_loss(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the sum of |difference| between neighbouring pixels, per valid pixel.

    The anisotropic form: of a hard mask it is the length of its outline. It knows no truth and
    only smooths what other terms teach. Pairs with an ignored pixel are left out.

    Args:
        logits, valid: [B, 1, H, W].
    """
    probability = torch.sigmoid(logits)
    total = logits.new_zeros(())
    for axis in (2, 3):
        both_valid = _later(valid, axis) * _earlier(valid, axis)
        change = (_later(probability, axis) - _earlier(probability, axis)).abs()
        total = total + (change * both_valid).sum()
    return total / valid.sum().clamp(min=1)


def _earlier(maps: torch.Tensor, axis: int) -> torch.Tensor:
    return maps.narrow(axis, 0, maps.shape[axis] - 1)


def _later(maps: torch.Tensor, axis: int) -> torch.Tensor:
    return maps.narrow(axis, 1, maps.shape[axis] - 1)

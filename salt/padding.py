"""Pad tiles to the network's input size and crop them back; exact inverses.

This is the one place that invents pixels for torch. Real neighbours' pixels come earlier, with
the images (`salt.neighbours.margins`): such tiles are as wide as the input, and nothing is added.
"""

import torch
import torch.nn.functional as F

from salt.errors import ModelError

MODES = {  # model.padding, and torch's name for it
    "reflect": "reflect",
    "edge": "replicate",
    "zero": "constant",
    "neighbours": "reflect",  # of tiles whose neighbours are not known
}


def margins(size: int, padded: int) -> tuple[int, int]:
    """Return pixels to add before and after, the odd one after.

    Raises:
        ModelError: `padded` is smaller than the tile, or reflection cannot reach that far.
    """
    total = padded - size
    if not 0 <= total <= 2 * (size - 1):
        raise ModelError(
            f"cannot pad {size} pixels to {padded}; expected {size} to {3 * size - 2}. "
            "Change model.input_size."
        )
    return total // 2, total - total // 2


def pad(tiles: torch.Tensor, padded: int, padding: str = "reflect") -> torch.Tensor:
    """Pad [B, C, S, S] to [B, C, padded, padded].

    Args:
        padding: `reflect` mirrors without repeating the edge, `edge` repeats it, `zero` is the
            mean grey of normalised images; `neighbours` mirrors what came without margins.
    """
    before, after = margins(tiles.shape[-1], padded)
    return F.pad(tiles, (before, after, before, after), mode=MODES[padding])


def crop(tiles: torch.Tensor, size: int) -> torch.Tensor:
    """Undo `pad`: cut the central [..., size, size] of [..., P, P]."""
    before, _ = margins(size, tiles.shape[-1])
    return tiles[..., before : before + size, before : before + size]

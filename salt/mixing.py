"""Mixing of the tiles of a batch with each other: mixup and cutmix.

Applied behind `salt.augment`, to batches of supervised training alone. Every batch's draw is
derived from (seed, epoch, step).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from salt.dataset import Batch, signed_distance
from salt.seeding import generator

MIXUP_ALPHA = 0.4  # of the paper's range for images; most mixtures stay close to one tile


def mixed_batches(
    batches: Iterable[Batch],
    *,
    mixup: float,
    cutmix: float,
    seed: int,
    epoch: int,
    stack_width: int,
    distances: bool,
) -> Iterator[Batch]:
    """Yield the batches, some of them mixed.

    Args:
        mixup, cutmix: probabilities of a batch to be mixed so; their sum is at most 1.
        stack_width: channels of a stack, without the depth behind it.
        distances: cutmix also computes the pasted masks' distance maps.
    """
    for step, batch in enumerate(batches):
        draw = generator(seed, "mix", epoch, step)
        chance = draw.random()
        if chance < mixup:
            yield mix_up(batch, draw)
        elif chance < mixup + cutmix:
            yield cut_mix(batch, draw, stack_width, distances)
        else:
            yield batch


def mix_up(batch: Batch, draw: np.random.Generator) -> Batch:
    """Blend every image with another of the batch (Zhang et al. 2018, arXiv:1710.09412).

    Masks stay hard, for Lovasz and presence need them so: the batch names each tile's partner
    and the own share, and the loss is blended instead of the targets.
    """
    share = float(draw.beta(MIXUP_ALPHA, MIXUP_ALPHA))
    partner = torch.from_numpy(draw.permutation(len(batch.images)))
    images = share * batch.images + (1 - share) * batch.images[partner]
    return replace(batch, images=images, partner=partner, share=share)


def cut_mix(batch: Batch, draw: np.random.Generator, stack_width: int, distances: bool) -> Batch:
    """Paste a rectangle of another tile into every one (Yun et al. 2019, arXiv:1905.04899).

    Image, mask and valid pixels are pasted alike, at the same place: what lay deep in its tile
    lies as deep in the other. The depth a network is told stays the tile's own. The pasted area
    is uniform in [0, 1] of the tile before it is clipped to it.
    """
    size = batch.images.shape[-1]
    partner = torch.from_numpy(draw.permutation(len(batch.images)))
    side = size * math.sqrt(draw.random())
    rows, columns = (_span(draw.uniform(0, size), side, size) for _ in range(2))
    pasted = torch.zeros(size, size, dtype=torch.bool)
    pasted[rows, columns] = True
    images, masks, valid = (
        torch.where(pasted, tensor[partner], tensor)
        for tensor in (batch.images, batch.masks, batch.valid)
    )
    images[:, stack_width:] = batch.images[:, stack_width:]
    distance = _distances(masks, valid) if distances else batch.distance
    return replace(batch, images=images, masks=masks, valid=valid, distance=distance)


def _span(centre: float, side: float, size: int) -> slice:
    return slice(round(max(centre - side / 2, 0)), round(min(centre + side / 2, size)))


def _distances(masks: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    pairs = zip(masks[:, 0].numpy(), 1 - valid[:, 0].numpy(), strict=True)
    maps = [signed_distance(mask, ignore) for mask, ignore in pairs]
    return torch.from_numpy(np.stack(maps))[:, None]

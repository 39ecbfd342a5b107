"""Labelled tiles that are told apart by their grey, and their epochs."""

import numpy as np
import torch

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import (
    Batch,
    LabelledTiles,
    training_batches,
)


def numbered_tiles() -> LabelledTiles:
    """Ten labelled tiles named by their row; each image holds its row's number times ten."""
    draw = np.random.default_rng(0)
    images = np.broadcast_to(10 * np.arange(10, dtype=np.uint8)[:, None, None], (10, 101, 101))
    masks = draw.integers(0, 2, images.shape, dtype=np.uint8)
    ignore = draw.integers(0, 2, images.shape, dtype=np.uint8)
    stacks = np.repeat(np.arange(10)[:, None], 3, axis=1)
    return LabelledTiles(images, stacks, masks, ignore, [str(row) for row in range(10)])


def some_augmentation() -> Augmentation:
    """One that moves tiles and changes their grey."""
    return Augmentation(
        AugmentConfig(
            horizontal_flip=0.5,
            affine=0.7,
            shift=0.1,
            zoom=0.1,
            shear=5.0,
            brightness=0.2,
            contrast=0.2,
        )
    )


def epoch_of(tiles: LabelledTiles, epoch: int = 0, **changes) -> list[Batch]:
    settings = {"seed": 1, "batch_size": 4, "augmentation": None} | changes
    return list(training_batches(tiles, epoch=epoch, **settings))


def ids_of(batches: list[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.ids]


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert ids_of(first) == ids_of(second)
    for one, other in zip(first, second, strict=True):
        for name in ("images", "masks", "valid", "distance"):
            assert torch.equal(getattr(one, name), getattr(other, name))

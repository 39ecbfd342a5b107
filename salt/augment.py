"""Augmentation of tiles; the only place that knows albumentations.

Image stack, mask and ignore mask move together. Every tile's draw is derived from
(seed, epoch, index), so neither sample order nor the number of workers nor a kill and
resume changes it.
"""

import os
from dataclasses import dataclass

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for versions

import albumentations as A
import cv2

from salt.seeding import derive_seed

cv2.setNumThreads(0)  # tiles are small: its threads only compete with torch's


@dataclass(frozen=True)
class AugmentConfig:
    """The section `augment` of params.yaml.

    Attributes:
        horizontal_flip, affine: probabilities.
        shift: share of the side; zoom: relative; shear: degrees; all either way.
        brightness: share of the grey range; contrast: relative; both either way.
    """

    horizontal_flip: float
    affine: float
    shift: float
    zoom: float
    shear: float
    brightness: float
    contrast: float


class Augmentation:
    """Flip, shift, zoom, shear, brightness and contrast of one tile.

    Never flipped vertically: time runs down, and salt's top does not look like its base.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.transform = A.Compose(
            [
                A.HorizontalFlip(p=config.horizontal_flip),
                A.Affine(
                    translate_percent=(-config.shift, config.shift),
                    scale=(1 - config.zoom, 1 + config.zoom),
                    shear={"x": (-config.shear, config.shear), "y": (-config.shear, config.shear)},
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=config.affine,
                ),
                A.RandomBrightnessContrast(
                    brightness_limit=config.brightness,
                    contrast_limit=config.contrast,
                    p=1.0 if config.brightness or config.contrast else 0.0,
                ),
            ],
        )

    def __call__(
        self, stack: np.ndarray, mask: np.ndarray, ignore: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Augment uint8 [H, W, C] with its uint8 [H, W] mask and ignore mask; same shapes."""
        for position, transform in enumerate(self.transform.transforms):
            # Compose.set_random_seed gives all the same stream: flipped would imply sheared
            transform.set_random_seed(derive_seed(seed, position) % 2**32)
        moved = self.transform(image=stack, masks=np.stack([mask, ignore]))
        image = moved["image"].reshape(stack.shape)
        return image, moved["masks"][0], moved["masks"][1]

"""Augmentation of tiles; the only place that knows albumentations.

Image stack, mask and ignore mask move together. Every tile's draw is derived from
(seed, epoch, index), so neither sample order nor the number of workers nor a kill and
resume changes it.
"""

import math
import os
from dataclasses import dataclass

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for versions

import albumentations as A
import cv2

from salt.seeding import derive_seed

cv2.setNumThreads(0)  # tiles are small: its threads only compete with torch's

WARP_PIXELS, WARP_REACH = 2.0, 8.0  # of elastic: standard displacement, and how far it is alike
HOLE_SIDES = (0.1, 0.25)  # of cutout, as shares of the tile's side
FLIP = 0  # place of the flip among the transforms
MEAN_GREY = 120  # of all TGS tiles: nothing is left of it once images are normalised


@dataclass(frozen=True)
class AugmentConfig:
    """The section `augment` of params.yaml.

    Attributes:
        horizontal_flip, affine: probabilities.
        shift: share of the side; zoom: relative; shear, rotation: degrees; all either way.
        brightness: share of the grey range; contrast, gamma: relative; all either way.
        elastic, polarity, cutout: probabilities.
        noise: highest standard deviation, as a share of the grey range.
        mixup, cutmix: probabilities of a batch; `salt.mixing` applies them.
    """

    horizontal_flip: float
    affine: float
    shift: float
    zoom: float
    shear: float
    brightness: float
    contrast: float
    rotation: float = 0.0
    elastic: float = 0.0
    gamma: float = 0.0
    polarity: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0


class Augmentation:
    """Changes of place and of grey value of one tile.

    Never flipped vertically: time runs down, and salt's top does not look like its base.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self.transform = A.Compose([*_first_transforms(config), *_further_transforms(config)])

    def __call__(
        self,
        stack: np.ndarray,
        mask: np.ndarray,
        ignore: np.ndarray,
        seed: int,
        along_section: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Augment uint8 [H, W, C] with its uint8 [H, W] mask and ignore mask; same shapes.

        Where the channels lie side by side `along_section`, a flip reverses their order as well.
        """
        for position, transform in enumerate(self.transform.transforms):
            # Compose.set_random_seed gives all the same stream: flipped would imply sheared
            transform.set_random_seed(derive_seed(seed, position) % 2**32)
        moved = self.transform(image=stack, masks=np.stack([mask, ignore]))
        image = moved["image"].reshape(stack.shape)
        if along_section and self._flipped():
            image = image[..., ::-1]
        return image, moved["masks"][0], moved["masks"][1]

    def _flipped(self) -> bool:
        """Tell whether the last tile was flipped; a transform not applied has no parameters."""
        return bool(self.transform.transforms[FLIP].get_applied_params())


def _first_transforms(config: AugmentConfig) -> list[A.BasicTransform]:
    return [
        A.HorizontalFlip(p=config.horizontal_flip),
        A.Affine(
            translate_percent=(-config.shift, config.shift),
            scale=(1 - config.zoom, 1 + config.zoom),
            rotate=(-config.rotation, config.rotation),
            shear={"x": (-config.shear, config.shear), "y": (-config.shear, config.shear)},
            border_mode=cv2.BORDER_REFLECT_101,
            p=config.affine,
        ),
        A.RandomBrightnessContrast(
            brightness_limit=config.brightness,
            contrast_limit=config.contrast,
            p=1.0 if config.brightness or config.contrast else 0.0,
        ),
    ]


def _further_transforms(config: AugmentConfig) -> list[A.BasicTransform]:
    """Behind the first, whose draws depend on their position."""
    # a field uniform in [-1, 1], smoothed, has deviation 1 / (2 sqrt(3 pi) WARP_REACH)
    alpha = WARP_PIXELS * 2 * math.sqrt(3 * math.pi) * WARP_REACH
    return [
        A.ElasticTransform(
            alpha=alpha,
            sigma=WARP_REACH,
            noise_distribution="uniform",
            border_mode=cv2.BORDER_REFLECT_101,
            p=config.elastic,
        ),
        A.RandomGamma(
            gamma_limit=(100 * (1 - config.gamma), 100 * (1 + config.gamma)),
            p=1.0 if config.gamma else 0.0,
        ),
        A.InvertImg(p=config.polarity),
        A.GaussNoise(std_range=(0.0, config.noise), p=1.0 if config.noise else 0.0),
        A.CoarseDropout(
            num_holes_range=(1, 3),
            hole_height_range=HOLE_SIDES,
            hole_width_range=HOLE_SIDES,
            fill=MEAN_GREY,
            p=config.cutout,
        ),
    ]

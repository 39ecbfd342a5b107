"""Test-time augmentation: the views of a tile, and how their answers are put back in place."""

from typing import NamedTuple

import torch

from salt.models.predict import mirrored
from salt.models.segmenter import Segmentation


class View(NamedTuple):
    """A way to show a padded tile: mirrored or not, and moved right and down by pixels."""

    mirror: bool = False
    shift: int = 0


PLAIN = View()
SHIFT = 4  # pixels: a quarter of the coarsest feature's side
VIEWS = {
    "none": (PLAIN,),
    "flip": (PLAIN, View(mirror=True)),
    "flip_shift": tuple(View(m, s) for m in (False, True) for s in (0, -SHIFT, SHIFT)),
}


def show(images: torch.Tensor, view: View) -> torch.Tensor:
    """Return padded images [B, C, P, P] as the view shows them; what leaves comes in opposite."""
    shown = images.roll((view.shift, view.shift), (-2, -1)) if view.shift else images
    return shown.flip(-1) if view.mirror else shown


def unshow(output: Segmentation, view: View) -> Segmentation:
    """Put a view's output back in place; to be done before cropping, for margins are unequal."""
    placed = mirrored(output) if view.mirror else output
    if not view.shift:
        return placed
    back = placed.mask_logits.roll((-view.shift, -view.shift), (-2, -1))
    return placed._replace(mask_logits=back)

"""Test-time augmentation: the views of a tile, and how their answers are put back in place."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from salt.models.predict import mirrored, mirrored_images
from salt.models.segmenter import Segmentation


class View(NamedTuple):
    """A way to show a padded tile: mirrored or not, moved right and down by pixels, shrunk."""

    mirror: bool = False
    shift: int = 0
    scale: float = 1.0


PLAIN = View()
SHIFT = 4  # pixels: a quarter of the coarsest feature's side
SCALE = 0.9  # the tile shrinks, so that nothing of it leaves the input
VIEWS = {
    "none": (PLAIN,),
    "flip": (PLAIN, View(mirror=True)),
    "flip_shift": tuple(View(m, s) for m in (False, True) for s in (0, -SHIFT, SHIFT)),
    "flip_scale": tuple(View(m, scale=s) for m in (False, True) for s in (1.0, SCALE)),
}


def show(images: torch.Tensor, view: View, beside: int = 0) -> torch.Tensor:
    """Return padded images [B, C, P, P] as the view shows them.

    What a shift moves out comes in opposite. A view at another scale keeps the input's size, for
    an encoder with windows is built for one: around the shrunk square its edge is repeated.
    A mirror also reverses the order of the first `beside` channels, which lie side by side.
    """
    shown = _resampled(images, view.scale) if view.scale != 1 else images
    shown = shown.roll((view.shift, view.shift), (-2, -1)) if view.shift else shown
    return mirrored_images(shown, beside) if view.mirror else shown


def unshow(output: Segmentation, view: View) -> Segmentation:
    """Put a view's output back in place; to be done before cropping, for margins are unequal."""
    placed = mirrored(output) if view.mirror else output
    if not view.shift and view.scale == 1:
        return placed
    back = placed.mask_logits
    back = back.roll((-view.shift, -view.shift), (-2, -1)) if view.shift else back
    back = _resampled(back.float(), 1 / view.scale) if view.scale != 1 else back
    return placed._replace(mask_logits=back)


def _resampled(maps: torch.Tensor, scale: float) -> torch.Tensor:
    """Scale the content of float32 [B, C, P, P] about the square's centre, bilinearly.

    Not smoothed first: at `SCALE` samples lie 1.1 pixels apart, so next to nothing aliases.
    """
    side = maps.shape[-1]
    # Corners of pixels, not their middles, lie at -1 and 1: so 0 is the centre of the square.
    # Worked out here, since `affine_grid` multiplies in half precision under autocast.
    places = (torch.arange(1 - side, side, 2, device=maps.device) / side) / scale
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    grid = torch.stack([columns, rows], -1).expand(len(maps), -1, -1, -1)  # [B, P, P, 2]
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)

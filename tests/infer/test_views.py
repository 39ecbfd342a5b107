"""Views of a tile, and the way back."""

import pytest
import torch

from salt.infer.views import VIEWS, View, show, unshow
from salt.models.segmenter import Segmentation


def test_views_show_the_tile_mirrored_and_moved() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2, 3] = 1
    assert show(image, View(shift=2))[0, 0, 4, 5] == 1
    assert show(image, View(mirror=True))[0, 0, 2, 4] == 1
    assert show(image, View(mirror=True, shift=2))[0, 0, 4, 2] == 1
    assert len(set(VIEWS["flip_shift"])) == 6


@pytest.mark.parametrize("view", VIEWS["flip_shift"])
def test_every_view_is_put_back_in_place(view: View) -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8)
    seen = Segmentation(show(images, view), None)
    assert torch.equal(unshow(seen, view).mask_logits, images)

"""Views of a tile, and the way back."""

from typing import get_args

import pytest
import torch

from salt.infer.views import SCALE, VIEWS, View, show, unshow
from salt.models.segmenter import Segmentation
from salt.padding import crop, pad
from salt.settings import Ensemble

SHRUNK = View(scale=SCALE)


def smooth_map(side: int) -> torch.Tensor:
    """Return a map [1, 1, side, side] of waves some 40 pixels long, from -1 to 1."""
    place = torch.arange(float(side)) * 2 * torch.pi / 40
    return (place[:, None].sin() * (0.7 * place).cos())[None, None]


def signed_distance(side: int, radius: float) -> torch.Tensor:
    """Return logits [1, 1, side, side], above 0 within `radius` of the square's centre."""
    place = torch.arange(float(side)) - (side - 1) / 2
    return (radius - torch.hypot(place[:, None], place))[None, None]


def there_and_back(maps: torch.Tensor, view: View) -> torch.Tensor:
    """Return what a network that answers pixel by pixel would say of a view, put back in place."""
    return unshow(Segmentation(show(maps, view), None), view).mask_logits


def test_views_show_the_tile_mirrored_and_moved() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2, 3] = 1
    assert show(image, View(shift=2))[0, 0, 4, 5] == 1
    assert show(image, View(mirror=True))[0, 0, 2, 4] == 1
    assert show(image, View(mirror=True, shift=2))[0, 0, 4, 2] == 1
    assert len(set(VIEWS["flip_shift"])) == 6
    assert set(VIEWS["flip_scale"]) == {View(m, scale=s) for m in (False, True) for s in (1, 0.9)}


def test_a_mirror_exchanges_the_channels_that_lie_side_by_side() -> None:
    images = torch.arange(2 * 4 * 8 * 8.0).reshape(2, 4, 8, 8)  # three tiles and a depth
    before = images.clone()
    for layout in (torch.contiguous_format, torch.channels_last):
        shown = show(images.contiguous(memory_format=layout), View(mirror=True), beside=3)
        assert torch.equal(shown, images.flip(-1)[:, [2, 1, 0, 3]])
        assert shown.is_contiguous(memory_format=layout)
    assert torch.equal(show(images, View(shift=2), beside=3), show(images, View(shift=2)))
    assert torch.equal(show(images, View(mirror=True)), images.flip(-1))
    assert torch.equal(images, before)


def test_the_parameters_offer_exactly_these_views() -> None:
    assert set(get_args(Ensemble.model_fields["tta"].annotation)) == VIEWS.keys()


@pytest.mark.parametrize("view", VIEWS["flip_shift"])
def test_every_view_is_put_back_in_place(view: View) -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8)
    assert torch.equal(there_and_back(images, view), images)


@pytest.mark.parametrize("view", VIEWS["flip_scale"])
def test_a_smooth_map_comes_back_from_another_scale(view: View) -> None:
    maps = smooth_map(112)
    off = (there_and_back(maps, view) - maps).abs()
    assert off[..., 1:-1, 1:-1].max() < 0.02
    assert off.max() < 0.05  # outermost, the edge itself was met by its repetition


@pytest.mark.parametrize("side", [101, 112])
def test_a_disc_shrinks_about_its_centre_and_comes_back_as_the_same_mask(side: int) -> None:
    disc = signed_distance(side, radius=30.25)
    shrunk = show(disc, SHRUNK)
    assert (shrunk > 0).sum() / (disc > 0).sum() == pytest.approx(SCALE**2, rel=0.02)
    for maps in (shrunk, there_and_back(disc, SHRUNK)):  # a shift by half a pixel would lean
        for turned in (maps.flip(-1), maps.flip(-2), maps.transpose(-1, -2)):
            torch.testing.assert_close(turned, maps, atol=1e-4, rtol=0)
    assert torch.equal(there_and_back(disc, SHRUNK) > 0, disc > 0)


def test_a_ramp_is_stretched_exactly_and_its_edge_repeated() -> None:
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    stretched = (ramp - 9.5) / SCALE + 9.5
    torch.testing.assert_close(show(ramp, SHRUNK), stretched.clamp(0, 19))
    torch.testing.assert_close(
        show(ramp, View(mirror=True, scale=SCALE)), stretched.clamp(0, 19).flip(-1)
    )


def test_uneven_margins_do_not_move_a_tile_at_another_scale() -> None:
    tile = smooth_map(101)
    padded = pad(tile, 112)  # 5 pixels before, 6 after
    for view in VIEWS["flip_scale"]:
        back = crop(there_and_back(padded, view), 101)
        torch.testing.assert_close(back, tile, atol=0.02, rtol=0)


def test_half_precision_around_the_network_leaves_the_places_exact() -> None:
    maps = smooth_map(112)
    with torch.autocast("cpu", torch.bfloat16):
        seen = show(maps, SHRUNK)
        back = unshow(Segmentation(seen.bfloat16(), torch.ones(1, 1)), SHRUNK)
    assert torch.equal(seen, show(maps, SHRUNK))
    torch.testing.assert_close(back.mask_logits, maps, atol=0.05, rtol=0)
    assert torch.equal(back.presence_logits, torch.ones(1, 1))  # of the tile, not of a place

"""Padding: pad and crop are exact inverses, and the border is a reflection."""

import numpy as np
import pytest
import torch

from salt.errors import ModelError
from salt.padding import MODES, crop, margins, pad


def test_the_odd_pixel_comes_after():
    assert margins(101, 128) == (13, 14)
    assert margins(101, 101) == (0, 0)


@pytest.mark.parametrize("padded", [101, 102, 128, 192, 256, 301])
def test_crop_undoes_pad_exactly(padded):
    tiles = torch.rand(2, 3, 101, 101)
    assert torch.equal(crop(pad(tiles, padded), 101), tiles)


def test_the_border_mirrors_without_repeating_the_edge():
    row = torch.arange(4.0).expand(1, 1, 4, 4)
    assert pad(row, 8)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


def test_padding_agrees_with_numpy():
    tile = torch.rand(1, 1, 101, 101)
    expected = np.pad(tile[0, 0].numpy(), (13, 14), mode="reflect")
    np.testing.assert_array_equal(pad(tile, 128)[0, 0].numpy(), expected)


@pytest.mark.parametrize(
    ("padding", "numpy_name"),
    [("reflect", "reflect"), ("edge", "edge"), ("zero", "constant"), ("neighbours", "reflect")],
)
def test_every_padding_agrees_with_numpy_and_is_undone_by_crop(padding, numpy_name):
    tile = torch.rand(1, 1, 101, 101)
    padded = pad(tile, 128, padding)
    expected = np.pad(tile[0, 0].numpy(), (13, 14), mode=numpy_name)
    np.testing.assert_array_equal(padded[0, 0].numpy(), expected)
    assert torch.equal(crop(padded, 101), tile)


@pytest.mark.parametrize("padding", MODES)
def test_what_is_as_wide_as_the_input_is_left_alone(padding):
    tiles = torch.rand(2, 3, 128, 128)
    assert torch.equal(pad(tiles, 128, padding), tiles)


@pytest.mark.parametrize("padded", [100, 302])
def test_an_impossible_size_names_the_possible_ones(padded):
    with pytest.raises(ModelError, match=f"101 pixels to {padded}; expected 101 to 301"):
        pad(torch.rand(1, 1, 101, 101), padded)

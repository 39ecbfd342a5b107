"""What is particular to each of our own small networks."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from salt.models.decoder import AttentionGate
from salt.models.zoo.layers import ACTIVATIONS, NORMALISATIONS, ConvLayer, Style
from salt.models.zoo.plain_unet import PlainUnet
from salt.models.zoo.psp_unet import PyramidPooling
from salt.models.zoo.residual_unet import ResidualBlock, ResidualUnet
from salt.models.zoo.segnet import SegNet

STYLE = Style("batch", "relu")
PLAIN = {"upsampling": "transposed", "skip_attention": "none", "deep_supervision": False}


def modules(network: nn.Module, kind: type) -> list:
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_choice_of_normalisation_and_activation_is_the_one_used(
    normalisation: str, activation: str
) -> None:
    layer = ConvLayer(3, 16, Style(normalisation, activation))
    wanted = (type(NORMALISATIONS[normalisation](16)), type(ACTIVATIONS[activation]()))
    assert tuple(type(part) for part in list(layer)[1:]) == wanted
    assert (layer[0].bias is not None) == (normalisation == "none")
    assert layer(torch.randn(2, 3, 9, 7)).shape == (2, 16, 9, 7)


def test_a_plain_unet_of_base_64_has_the_channels_of_the_paper() -> None:
    network = PlainUnet(1, width=64, levels=4, style=STYLE, **PLAIN)
    assert [level[0][0].out_channels for level in network.down] == [64, 128, 256, 512, 1024]
    assert [block.up.out_channels for block in network.up] == [512, 256, 128, 64]


@pytest.mark.parametrize(
    ("changes", "kind", "count"),
    [
        ({}, nn.ConvTranspose2d, 2),
        ({"upsampling": "nearest"}, nn.Upsample, 2),
        ({"upsampling": "nearest"}, nn.ConvTranspose2d, 0),
        ({"skip_attention": "spatial"}, AttentionGate, 2),
    ],
)
def test_options_of_the_plain_unet_change_its_levels(changes: dict, kind: type, count: int) -> None:
    network = PlainUnet(3, width=4, levels=2, style=STYLE, **(PLAIN | changes))
    assert len(modules(network, kind)) == count
    assert network(torch.randn(2, 3, 16, 16)).decoded.shape == (2, 4, 16, 16)


def test_the_residual_unet_has_eighteen_blocks_and_keeps_101_pixels() -> None:
    network = ResidualUnet(3, width=2, levels=4, style=STYLE).eval()
    assert len(modules(network, ResidualBlock)) == 18
    output = network(torch.randn(1, 3, 101, 101))
    assert output.decoded.shape == (1, 2, 101, 101)
    assert output.deepest.shape == (1, 32, 6, 6)


@pytest.mark.parametrize("kind", [ResidualUnet, partial(PlainUnet, **PLAIN)])
def test_a_hypercolumn_reads_every_decoder_level_at_full_resolution(kind: Callable) -> None:
    def network(**changes) -> nn.Module:
        torch.manual_seed(0)
        return kind(3, width=4, levels=3, style=STYLE, **changes).eval()

    images, levels = torch.randn(2, 3, 16, 16), []
    column, plain = network(hypercolumn=True), network()
    for level in column.up:
        level.register_forward_hook(lambda _, __, output: levels.append(output))
    decoded = column(images).decoded
    assert [level.shape[1] for level in levels] == [16, 8, 4]
    torch.testing.assert_close(decoded, column.hypercolumn(levels))
    assert decoded.shape == (2, 12, 16, 16)
    assert torch.equal(decoded[:, 8:], plain(images).decoded)


@pytest.mark.parametrize("size", [16, 17, 31, 50, 102])
def test_unpadded_networks_take_any_size(size: int) -> None:
    for network in (
        ResidualUnet(1, width=2, levels=4, style=STYLE),
        SegNet(1, width=2, levels=4, style=STYLE),
    ):
        assert network.eval()(torch.randn(1, 1, size, size)).decoded.shape[-2:] == (size, size)


def test_a_residual_block_whose_last_convolution_is_zero_changes_nothing() -> None:
    block = ResidualBlock(4, Style("none", "relu"))
    nn.init.zeros_(block.residual[-1].weight)
    nn.init.zeros_(block.residual[-1].bias)
    features = torch.randn(2, 4, 5, 5)
    before = features.clone()
    assert torch.equal(block(features), before)


def test_segnet_returns_values_to_the_places_of_the_maxima() -> None:
    network = SegNet(1, width=4, levels=1, style=STYLE).eval()
    seen = {}
    network.down[0].register_forward_hook(lambda _, __, output: seen.update(down=output))
    network.up[0].register_forward_hook(lambda _, inputs, __: seen.update(up=inputs[0]))
    network(torch.randn(1, 1, 13, 13))
    maxima = F.max_pool2d(seen["down"], 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    even = seen["down"][..., :12, :12]
    expected = torch.where(even == maxima, even, 0)
    assert torch.equal(seen["up"][..., :12, :12], expected)
    assert not seen["up"][..., 12, :].any() and not seen["up"][..., :, 12].any()


def test_segnet_has_the_convolutions_of_vgg16() -> None:
    network = SegNet(3, width=8, levels=5, style=STYLE)
    assert [len(modules(level, nn.Conv2d)) for level in network.down] == [2, 2, 3, 3, 3]
    widths = [modules(level, nn.Conv2d)[-1].out_channels for level in network.down]
    assert widths == [8, 16, 32, 64, 64]


def test_pyramid_pooling_lets_every_place_see_the_whole_tile() -> None:
    pooling = PyramidPooling(8, Style("none", "elu")).eval()
    features = torch.randn(1, 8, 7, 7)
    changed = features.clone()
    changed[..., 0, 0] += 5
    difference = (pooling(changed) - pooling(features)).abs().amax(1)
    assert (difference > 0).all()

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from salt.errors import ModelError
from salt.models.decoder import (
    AttentionGate,
    ConvBlock,
    DecoderBlock,
    DropoutSite,
    Hypercolumn,
    ScSE,
    UnetDecoder,
    site_rates,
)


def decoder(**changes) -> UnetDecoder:
    settings = {"scse": True, "dropout": 0.5, "sites": "early"} | changes
    return UnetDecoder([16, 32, 4, 8, 16], [1, 2, 4, 8, 16], [12, 10, 6, 5], **settings).eval()


def features_of(size: int = 32) -> list[torch.Tensor]:
    channels = {1: 16, 2: 32, 4: 4, 8: 8, 16: 16}
    return [torch.randn(2, c, size // r, size // r) for r, c in channels.items()]


def test_it_decodes_to_full_resolution() -> None:
    assert decoder()(features_of()).shape == (2, 5, 32, 32)


def test_a_level_without_a_feature_is_decoded_without_a_skip() -> None:
    settings = {"scse": False, "dropout": 0.0, "sites": "late"}
    model = UnetDecoder([4, 8], [4, 8], [12, 10, 6], **settings).eval()
    assert model([torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4)]).shape == (2, 6, 32, 32)


def test_every_feature_matters() -> None:
    model, features = decoder(), features_of()
    before = model(features)
    for level in range(len(features)):
        changed = [f + (index == level) for index, f in enumerate(features)]
        assert not torch.allclose(model(changed), before)


@pytest.mark.parametrize(
    ("sites", "rates", "settled_side"),
    [("early", [0.5, 0.5, 0, 0], 4), ("late", [0, 0, 0.5, 0], 16), ("head", [0, 0, 0, 0.5], 32)],
)
def test_dropout_stands_where_it_is_told_and_all_before_it_is_settled(
    sites: str, rates: list[float], settled_side: int
) -> None:
    model, features = decoder(sites=sites), features_of()
    assert [m.p for m in model.modules() if isinstance(m, DropoutSite)] == rates
    assert model.settle(features)[0][-1].shape[-1] == settled_side
    torch.testing.assert_close(model.finish(*model.settle(features))[-1], model(features))


def test_dropout_that_would_stand_nowhere_is_refused() -> None:
    with pytest.raises(ModelError, match="is early, but a decoder of 2 levels has no such place"):
        site_rates("early", 2, 0.5)
    assert site_rates("early", 2, 0.0) == [0, 0]
    assert site_rates("late", 2, 0.5) == [0.5, 0]


def test_without_dropout_all_of_the_decoder_is_settled() -> None:
    model, features = decoder(dropout=0.0), features_of()
    assert torch.equal(model.settle(features)[0][-1], model(features))


@pytest.mark.parametrize(("sites", "behind"), [("early", 3), ("late", 1), ("head", 0)])
def test_the_skips_of_the_blocks_behind_the_first_site_are_settled(sites: str, behind: int) -> None:
    _, skips = decoder(sites=sites).settle(features_of())
    assert [skip.shape[1] for skip in skips] == [10, 6, 5][3 - behind :]  # as the block gives


def test_a_norm_whose_statistics_stand_still_is_part_of_the_convolution() -> None:
    block, features = ConvBlock(3, 4, stride=2), torch.randn(8, 3, 6, 6)
    for _ in range(20):
        trained = block(features)
    apart = nn.Sequential(*block)  # convolution, norm, ReLU one after the other
    torch.testing.assert_close(trained, apart(features))
    torch.testing.assert_close(block.eval()(features), apart.eval()(features))
    assert not torch.allclose(block(features), trained)  # statistics of 20 batches, not of one


def test_gradients_in_evaluation_are_those_of_convolution_norm_and_relu_apart() -> None:
    block, features = ConvBlock(3, 4), torch.randn(8, 3, 6, 6)
    with torch.no_grad():
        for _ in range(20):
            block(features * 3 + 1)
        for parameter in block[1].parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.5)
    block = block.to(memory_format=torch.channels_last).eval()
    apart = deepcopy(nn.Sequential(*block))
    for network in (block, apart):
        network(features).square().sum().backward()
    for own, expected in zip(block.parameters(), apart.parameters(), strict=True):
        assert expected.grad.abs().max() > 0
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-4, atol=1e-4)


def test_a_folded_kernel_keeps_its_memory_layout_and_computes_in_half_precision() -> None:
    block = ConvBlock(16, 8).to(memory_format=torch.channels_last).eval()
    kernel, _ = block.convolution()
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert block(torch.randn(2, 16, 6, 6)).dtype == torch.bfloat16


@pytest.mark.parametrize("skip_attention", ["none", "spatial"])
def test_a_block_convolves_the_coarse_features_and_the_skip_side_by_side(
    skip_attention: str,
) -> None:
    block = DecoderBlock(6, 3, 5, scse=False, skip_attention=skip_attention).eval()
    coarse, skip = torch.randn(2, 6, 4, 4), torch.randn(2, 3, 8, 8)
    up = F.interpolate(coarse, scale_factor=2.0)
    gated = skip if block.gate is None else block.gate(skip, up)
    expected = block.second(block.first(torch.cat([up, gated], dim=1)))
    torch.testing.assert_close(block(coarse, block.weighed(skip)), expected)


def test_a_block_doubles_the_resolution() -> None:
    block = DecoderBlock(6, 3, 5, scse=True)
    assert block(torch.randn(2, 6, 4, 4), block.weighed(torch.randn(2, 3, 8, 8))).shape == (
        2,
        5,
        8,
        8,
    )


def test_recalibration_with_open_gates_adds_the_two_halves() -> None:
    attention = ScSE(4)
    for layer in (attention.channel[3], attention.spatial[0]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    features = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(attention(features), features)  # both gates are sigmoid(0) = 1/2


@pytest.mark.parametrize(("gate", "expected"), [(-30.0, 0.5), (30.0, 1.5)])
def test_the_channel_gate_scales_whole_channels(gate: float, expected: float) -> None:
    attention = ScSE(4)
    torch.nn.init.zeros_(attention.channel[3].weight)
    attention.channel[3].bias.data = torch.tensor([gate, 0.0, 0.0, 0.0])
    torch.nn.init.zeros_(attention.spatial[0].weight)
    torch.nn.init.zeros_(attention.spatial[0].bias)
    features = torch.ones(1, 4, 2, 2)
    scaled = attention(features)
    torch.testing.assert_close(scaled[0, 0], torch.full((2, 2), expected))
    torch.testing.assert_close(scaled[0, 1], torch.ones(2, 2))


def test_a_transposed_block_doubles_the_resolution_with_weights_of_its_own() -> None:
    block = DecoderBlock(6, 3, 5, scse=False, upsampling="transposed")
    assert block(torch.randn(2, 6, 4, 4), block.weighed(torch.randn(2, 3, 8, 8))).shape == (
        2,
        5,
        8,
        8,
    )
    assert block.up.weight.shape == (6, 6, 2, 2)


def test_an_attention_gate_weighs_places_and_leaves_channels_in_proportion() -> None:
    gate, skip = AttentionGate(4, 6), torch.randn(2, 4, 5, 5)
    weight = gate(skip, torch.randn(2, 6, 5, 5)) / skip
    assert ((weight > 0) & (weight < 1)).all()
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight))


def test_a_closed_gate_shuts_the_skip_out() -> None:
    block = DecoderBlock(6, 3, 5, scse=False, skip_attention="spatial").eval()
    torch.nn.init.zeros_(block.gate.weight.weight)
    block.gate.weight.bias.data.fill_(-100.0)
    coarse = torch.randn(1, 6, 4, 4)
    first, second = (block(coarse, block.weighed(torch.randn(1, 3, 8, 8))) for _ in range(2))
    assert torch.equal(first, second)


def test_a_block_without_a_skip_has_no_gate() -> None:
    assert DecoderBlock(6, 0, 5, scse=False, skip_attention="spatial").gate is None


def test_a_hypercolumn_holds_every_level_at_full_resolution_the_finest_as_it_is() -> None:
    column = Hypercolumn([12, 6, 5])
    levels = [torch.randn(2, c, s, s) for c, s in ((12, 4), (6, 8), (5, 16))]
    joined = column(levels)
    assert joined.shape == (2, column.channels, 16, 16) == (2, 15, 16, 16)
    assert torch.equal(joined[:, 10:], levels[-1])
    levels[0] = levels[0] + 1
    assert not torch.allclose(column(levels)[:, :5], joined[:, :5])


def test_options_that_are_off_add_no_weights() -> None:
    plain = {key.split(".")[2] for key in decoder().state_dict()}
    assert plain == {"first", "second", "attention"}

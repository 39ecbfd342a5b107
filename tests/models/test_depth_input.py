"""Networks that are told the depth of their tiles."""

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from zoo_configs import smallest

from salt.depth import TilesWithDepth
from salt.errors import ModelError
from salt.infer.uncertainty import dropout_switched_on, sample_passes
from salt.models.inputs import InputChannels, gradient_magnitude
from salt.models.masked import MaskedModel
from salt.models.predict import predict
from salt.models.registry import ARCHITECTURES, build_model
from salt.models.segmenter import Network
from salt.padding import crop

MONAI = pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="needs MONAI")
EVERY = [
    pytest.param(name, "channel", marks=MONAI if entry.source == "MONAI" else ())
    for name, entry in ARCHITECTURES.items()
]
INSIDE = [(name, "inside") for name in ("hybrid", "unet", "plain_unet", "residual_unet")]


def build(name: str, depth_input: str, **changes: Any) -> Network:
    torch.manual_seed(0)
    return build_model(smallest(name, depth_input=depth_input, **changes)).eval()


def draw_images(model: Network, depth: float, count: int = 2) -> torch.Tensor:
    """Return random stacks, the same whatever the depth, and behind them the depth."""
    size, channels = model.config.input_size, model.config.stack_width
    stacks = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))
    return torch.cat([stacks, torch.full((count, 1, size, size), depth)], dim=1)


@pytest.mark.parametrize(("name", "depth_input"), [*EVERY, *INSIDE])
def test_what_is_predicted_depends_on_the_depth(name: str, depth_input: str) -> None:
    model = build(name, depth_input)
    with torch.no_grad():
        shallow, deep, again = (model(draw_images(model, depth)) for depth in (-2, 2, -2))
    assert not torch.equal(shallow.mask_logits, deep.mask_logits)
    assert not torch.equal(shallow.presence_logits, deep.presence_logits)
    assert torch.equal(shallow.mask_logits, again.mask_logits)
    assert shallow.mask_logits.shape == (2, 1, model.config.input_size, model.config.input_size)


@pytest.mark.parametrize("name", ["segnet", "unetplusplus", "fcn"])
def test_networks_with_no_place_for_it_take_no_depth_inside(name: str) -> None:
    able = "hybrid, unet, plain_unet, residual_unet"
    with pytest.raises(ModelError, match=f"'inside', but {name} has no place .*one of {able}"):
        build(name, "inside")


@pytest.mark.parametrize(("name", "depth_input"), [("unet", "channel"), *INSIDE])
def test_a_batch_of_depths_gives_each_tile_its_own_answer(name: str, depth_input: str) -> None:
    model = build(name, depth_input)
    tiles = np.random.default_rng(0).integers(0, 256, (1, 101, 101), np.uint8).repeat(3, axis=0)
    depth, stacks = np.array([-1, 0, 2], np.float32), np.arange(3)[:, None].repeat(3, axis=1)
    together, _ = predict(model, TilesWithDepth(tiles, depth), stacks, name="")
    alone = [predict(model, TilesWithDepth(tiles, depth), row[None], name="")[0] for row in stacks]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-6)
    assert not np.array_equal(together[0], together[1])
    flipped, _ = predict(model, TilesWithDepth(tiles, depth), stacks, flip=True, name="")
    assert not np.array_equal(flipped[0], flipped[2])


@pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])
def test_inside_a_network_of_its_own_the_coarsest_features_end_in_the_depth(name: str) -> None:
    model, plain = build(name, "inside"), build(name, "none")
    images = draw_images(model, 0.5)
    images[..., :40] = -1  # but for the centre, where the depth is read
    with torch.no_grad():
        _, deepest = model.encode(images)
        _, expected = plain.encode(images[:, :-1])
    assert deepest.shape[1] == expected.shape[1] + 1
    assert (deepest[:, -1] == 0.5).all()
    assert torch.equal(deepest[:, :-1], expected)


def test_inside_means_one_more_of_the_coarsest_channels_and_no_other() -> None:
    model, plain = build("hybrid", "inside"), build("hybrid", "none")
    images = draw_images(model, 0.5)
    with torch.no_grad():
        features, expected = model.encode(images), plain.encode(images[:, :-1])
    assert [f.shape[1] for f in features[:-1]] == [f.shape[1] for f in expected[:-1]]
    assert features[-1].shape[1] == expected[-1].shape[1] + 1
    assert (features[-1][:, -1] == 0.5).all()
    assert torch.equal(features[-1][:, :-1], expected[-1])


@pytest.mark.parametrize(("name", "depth_input"), [("unet", "channel"), *INSIDE])
def test_dropout_passes_are_those_of_a_loop_over_whole_passes(
    monkeypatch: pytest.MonkeyPatch, name: str, depth_input: str
) -> None:
    model = build(name, depth_input, dropout_sites="late", decoder_dropout=0.5)
    images = draw_images(model, 1.5)
    monkeypatch.setattr("salt.infer.uncertainty.BATCH_SIZE", len(images))
    with torch.no_grad():
        torch.manual_seed(4)
        sampled, _ = sample_passes(model, images, passes=3, size=101)
        torch.manual_seed(4)
        with dropout_switched_on(model):
            whole = [torch.sigmoid(crop(model(images).mask_logits, 101))[:, 0] for _ in range(3)]
    assert torch.equal(sampled, torch.stack(whole))


@pytest.mark.parametrize("depth_input", ["channel", "inside"])
@pytest.mark.parametrize("stack_width", [1, 3])
def test_masked_pretraining_hides_the_stack_and_tells_the_depth(
    depth_input: str, stack_width: int
) -> None:
    model = MaskedModel(build("unet", depth_input, stack_width=stack_width)).eval()
    images = draw_images(model.segmenter, 1.0)
    hidden = torch.zeros(2, 1, 112, 112)
    hidden[..., 40:80, 40:80] = 1  # the centre, where the depth is read
    changed, deeper = images.clone(), images.clone()
    changed[:, :-1] += 5 * hidden
    deeper[:, -1] = 2.0
    with torch.no_grad():
        drawn = model(images, hidden)
        assert torch.equal(model(changed, hidden), drawn)
        assert not torch.equal(model(deeper, hidden), drawn)


def test_depth_follows_the_stack_and_features_are_of_the_own_tile() -> None:
    images = torch.randn(2, 4, 5, 7)
    output = InputChannels(False, ["gradient"], "channel")(images)
    assert output.shape == (2, 5, 5, 7)
    assert torch.equal(output[:, :3], images[:, :3])
    assert torch.equal(output[:, 3:4], images[:, 3:, 2:3, 3:4].expand(-1, 1, 5, 7))
    assert torch.equal(output[:, 4:], gradient_magnitude(images[:, 1:2]))


def test_inside_the_depth_is_no_input_channel() -> None:
    images = torch.randn(2, 4, 5, 7)
    assert torch.equal(InputChannels(False, [], "inside")(images), images[:, :3])

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel

from salt.models.inputs import (
    FEATURES,
    InputChannels,
    coordinate_channels,
    cumulative_amplitude,
    gradient_magnitude,
)


def test_nothing_is_appended_unless_asked_for() -> None:
    images = torch.randn(2, 3, 5, 7)
    assert InputChannels(False, [])(images) is images


def test_the_stack_comes_first_then_features_then_coordinates() -> None:
    images = torch.randn(2, 3, 5, 7)
    channels = InputChannels(True, ["cumulative_amplitude", "gradient"])
    output = channels(images)
    assert output.shape == (2, 3 + channels.extra, 5, 7) == (2, 7, 5, 7)
    own = images[:, 1:2]
    assert torch.equal(output[:, :3], images)
    assert torch.equal(output[:, 3:4], cumulative_amplitude(own))
    assert torch.equal(output[:, 4:5], gradient_magnitude(own))
    assert torch.equal(output[:, 5:], coordinate_channels(images))


def test_coordinates_run_from_minus_one_to_one_down_and_across() -> None:
    row, column = coordinate_channels(torch.zeros(1, 1, 3, 2))[0]
    assert row.tolist() == [[-1, -1], [0, 0], [1, 1]]
    assert column.tolist() == [[-1, 1], [-1, 1], [-1, 1]]


def test_the_gradient_is_that_of_sobel_per_pixel() -> None:
    image = np.random.default_rng(0).normal(size=(9, 11)).astype(np.float32)
    expected = np.hypot(*(sobel(image, axis, mode="nearest") / 8 for axis in (0, 1)))
    found = gradient_magnitude(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_ramp_has_its_own_slope_as_gradient() -> None:
    ramp = 0.5 * torch.arange(6.0).expand(1, 1, 6, 6)
    torch.testing.assert_close(gradient_magnitude(ramp)[..., 1:-1], torch.full((1, 1, 6, 4), 0.5))


def test_amplitudes_are_summed_downwards_and_standardised() -> None:
    own = torch.randn(2, 1, 8, 6)
    sums = (own - own.mean((2, 3), keepdim=True)).numpy().cumsum(axis=2)
    for tile, expected in zip(cumulative_amplitude(own)[:, 0].numpy(), sums[:, 0], strict=True):
        standard = (expected - expected.mean()) / expected.std()
        np.testing.assert_allclose(tile, standard, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("value", [0.0, -2.9, 3.3])
def test_a_constant_tile_has_blank_features(name: str, value: float) -> None:
    blank = FEATURES[name](torch.full((1, 1, 16, 16), value))
    torch.testing.assert_close(blank, torch.zeros_like(blank), atol=1e-2, rtol=0)


def test_features_are_computed_in_full_precision_whatever_the_training_s() -> None:
    images, channels = torch.randn(1, 3, 101, 101), InputChannels(True, list(FEATURES))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = channels(images)
    assert torch.equal(found, channels(images))

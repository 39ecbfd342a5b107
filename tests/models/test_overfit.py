import importlib.util

import pytest
import torch

from benchmarks.overfit import ENOUGH, draw_tiles, learn, overfit, score, settings_of
from salt.models.registry import ARCHITECTURES, build_model
from salt.padding import pad


def test_the_tiles_to_be_learnt_hold_salt_and_background() -> None:
    images, masks = draw_tiles()
    assert images.shape == (8, 3, 101, 101) and masks.shape == (8, 1, 101, 101)
    assert 0.05 < masks.mean() < 0.8
    assert images.std() > 0.3


def test_a_step_moves_every_parameter_and_a_score_is_a_share() -> None:
    torch.manual_seed(0)
    network = build_model(settings_of("residual_unet"))
    images, masks = draw_tiles()
    images = pad(images, network.config.input_size)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    before = [parameter.clone() for parameter in network.parameters()]
    learn(network.train(), images, masks, optimiser)
    assert 0 <= score(network.eval(), images, masks) <= 1
    assert all(
        not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_learns_eight_tiles_by_heart(name: str) -> None:
    if ARCHITECTURES[name].source == "MONAI" and importlib.util.find_spec("monai") is None:
        pytest.skip("needs MONAI")
    assert overfit(name)["dice"] > ENOUGH

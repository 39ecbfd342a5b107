import math

import pytest
import torch

from salt.models.refiner import INPUTS, LOGIT_LIMIT, Refiner, stack_inputs


@pytest.fixture
def inputs() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(2, 16, 16, generator=draw)
    mean, entropy, information = torch.rand(3, 2, 16, 16, generator=draw)
    return stack_inputs(image, mean, entropy, information)


def test_an_untrained_refiner_returns_the_probability_it_is_given(inputs: torch.Tensor) -> None:
    logits = Refiner(width=4).eval()(inputs)
    torch.testing.assert_close(logits, inputs[:, 1:2] * LOGIT_LIMIT)


def test_inputs_are_image_logit_entropy_and_mutual_information() -> None:
    ones = torch.ones(1, 1, 1)
    stacked = stack_inputs(0.3 * ones, 0.75 * ones, 0.5 * ones, 0.2 * ones)
    assert stacked.shape == (1, INPUTS, 1, 1)
    expected = [0.3, math.log(3) / LOGIT_LIMIT, 0.5, 0.2]
    assert stacked.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("probability", "logit"), [(0.0, -1.0), (1.0, 1.0), (0.5, 0.0)])
def test_certain_probabilities_become_finite_logits(probability: float, logit: float) -> None:
    ones = torch.ones(1, 1, 1)
    assert stack_inputs(ones, probability * ones, ones, ones)[0, 1].item() == pytest.approx(logit)


def test_its_first_step_can_move_the_answer(inputs: torch.Tensor) -> None:
    model = Refiner(width=4)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model(inputs)
    before.mean().backward()
    optimiser.step()
    assert model(inputs).mean() < before.mean()


def test_every_input_reaches_the_answer_once_the_head_is_not_zero(inputs: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = Refiner(width=4).eval()
    torch.nn.init.ones_(model.head.weight)
    before = model(inputs)
    for channel in range(INPUTS):
        changed = inputs.clone()
        changed[:, channel] += 1
        assert not torch.allclose(model(changed), before)

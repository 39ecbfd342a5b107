import importlib.util
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from zoo_configs import smallest

from salt.models.__main__ import COST_HEADINGS, HEADINGS, REFERENCES, describe, reference
from salt.models.cost import measure_cost, parameter_count
from salt.models.registry import ARCHITECTURES, build_model


def test_every_architecture_has_a_row() -> None:
    assert [*dict.fromkeys(name for name, _ in REFERENCES)] == list(ARCHITECTURES)


def test_a_row_has_a_cell_for_each_heading() -> None:
    assert len(describe(smallest("pspnet"), cost=False)) == len(HEADINGS)
    assert len(describe(smallest("pspnet"), cost=True)) == len(HEADINGS + COST_HEADINGS)


def test_only_encoders_that_are_read_are_shown() -> None:
    cells = {name: describe(smallest(name), cost=False) for name in ("linknet", "segnet")}
    assert cells["linknet"][:3] == ["linknet", "test_resnet", "segmentation-models-pytorch"]
    assert cells["segnet"][:3] == ["segnet", "", "salt"]


def test_parameters_are_those_of_a_network_counted_by_hand() -> None:
    network = build_model(smallest("segnet", decoder_channels=[8], presence_head=False))
    convolutions = 3 * 8 * 9 + 3 * 8 * 8 * 9 + (8 * 9 + 1)  # two down, two up, mask head
    assert parameter_count(network) == convolutions + 4 * 2 * 8  # and four batch norms


def test_a_cost_is_a_time_and_leaves_the_network_in_evaluation_mode() -> None:
    network = build_model(smallest("pspnet"))
    cost = measure_cost(network, batch_size=2)
    assert cost.training > 0 and cost.inference > 0
    assert not network.training


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), REFERENCES)
def test_every_row_can_be_built_and_segments_a_tile(name: str, changes: dict) -> None:
    if ARCHITECTURES[name].source == "MONAI" and importlib.util.find_spec("monai") is None:
        pytest.skip("needs MONAI")
    config = reference(name, changes)
    size = config.input_size
    with torch.inference_mode():
        output = build_model(config).eval()(torch.zeros(1, 3, size, size))
    assert output.mask_logits.shape == (1, 1, size, size)
    assert asdict(config)["architecture"] == name


@pytest.mark.slow
def test_the_command_prints_a_table() -> None:
    command = [sys.executable, "-m", "salt.models"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, *rows = printed.splitlines()
    assert first == f"| {' | '.join(HEADINGS)} |"
    assert len({row.count("|") for row in rows}) == 1

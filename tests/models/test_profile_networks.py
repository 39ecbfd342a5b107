"""Every profile's network can be built, and answers at the size it is given."""

from pathlib import Path

import pytest
import torch

from salt.models.registry import build_model
from salt.models.segmenter import config_from
from salt.params import parse_params, read_yaml
from salt.profiles import known_profiles, merged

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", known_profiles(PROJECT / "profiles"))
def test_the_network_of_a_profile_segments_its_input_size(name):
    settings = read_yaml(PROJECT / "params.yaml")
    for overlay in ("demo", name):
        settings = merged(settings, read_yaml(PROJECT / "profiles" / f"{overlay}.yaml"))
    model = parse_params(settings).model
    network = build_model(config_from(model.model_dump())).eval()
    with torch.inference_mode():
        output = network(torch.zeros(1, model.stack_width, model.input_size, model.input_size))
    assert output.mask_logits.shape == (1, 1, model.input_size, model.input_size)
    assert (output.presence_logits is not None) == model.presence_head

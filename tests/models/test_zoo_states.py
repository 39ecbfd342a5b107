"""What training keeps of each architecture can be written and comes back."""

import importlib.util
from pathlib import Path

import pytest
import torch
from zoo_configs import smallest

from salt.fit import checkpoint
from salt.models.registry import ARCHITECTURES, build_model

MONAI = pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="needs MONAI")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=MONAI if entry.source == "MONAI" else ())
        for name, entry in ARCHITECTURES.items()
    ],
)
def test_the_resume_state_of_every_architecture_comes_back(name: str, tmp_path: Path) -> None:
    state = build_model(smallest(name)).to(memory_format=torch.channels_last).state_dict()
    checkpoint.save_state(tmp_path, checkpoint.prefixed("model.", state), {"epoch": 1})
    tensors, counters = checkpoint.load_state(tmp_path)
    loaded = checkpoint.unprefixed("model.", tensors)
    assert counters == {"epoch": 1}
    assert loaded.keys() == state.keys()
    assert [key for key in state if not torch.equal(loaded[key], state[key])] == []

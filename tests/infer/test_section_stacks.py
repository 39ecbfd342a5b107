"""Networks on stacks along the section: a mirrored view shows left as right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_project import stack_along_sections

from salt.infer.uncertainty import FoldNetwork, open_network
from salt.models.predict import predict
from salt.models.segmenter import save_model

ROWS = np.arange(24, 30)


@pytest.fixture
def saved(project: Path, make_segmenter) -> Path:
    """A project that has a network, as little as it may know."""
    model = make_segmenter()
    save_model(model.state_dict(), model.config, project / "data/train/0")
    return project


def opened(project: Path) -> FoldNetwork:
    folders = (project / "data" / name for name in ("train/0", "ingest", "index"))
    return open_network(*folders, torch.device("cpu"))


def flipped(network: FoldNetwork, along_section: bool) -> np.ndarray:
    (model,), stacks = network.snapshots, network.stacks[ROWS]
    settings = {"flip": True, "along_section": along_section, "name": ""}
    return predict(model, network.images, stacks, **settings)[0]


@pytest.mark.parametrize("along_section", [True, False])
def test_only_stacks_along_the_section_are_turned_around_for_the_mirrored_view(
    saved: Path, along_section: bool
) -> None:
    if along_section:
        stack_along_sections(saved)
    network = opened(saved)
    assert network.along_section == along_section
    with torch.inference_mode():
        ((_, (probability, _)),) = network.samples(ROWS, 1, "flip", "")
    mean = probability.mean(0).numpy()
    np.testing.assert_allclose(mean, flipped(network, along_section), atol=1e-6)
    assert np.abs(mean - flipped(network, not along_section)).max() > 1e-4

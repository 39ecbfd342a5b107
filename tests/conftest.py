"""Fixtures of all tests: a tiny project, and one that all learning stages ran on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_project import FOLDS, make_project, run_stage, tiny_params

if TYPE_CHECKING:
    from salt.augment import Augmentation
    from salt.dataset import LabelledTiles

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; tensors are tiny


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working folder with params.yaml and the data of ingest, index and synthesize."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that every learning stage ran on, to be read and not changed."""
    folder = make_project(tmp_path_factory.mktemp("finished"))
    run_stage(folder, "pretrain")
    for stage in ("train", "pseudo", "student", "uncertainty", "refine"):
        for fold in FOLDS:
            run_stage(folder, stage, fold)
    for stage in ("ensemble", "threshold", "submit"):
        run_stage(folder, stage)
    return folder


@pytest.fixture
def tiles() -> "LabelledTiles":
    """Labelled tiles whose pixels say which they are."""
    from numbered_tiles import numbered_tiles  # here, because many tests do without torch

    return numbered_tiles()


@pytest.fixture
def augmentation() -> "Augmentation":
    """Every change of geometry and of grey values, often."""
    from numbered_tiles import some_augmentation

    return some_augmentation()


@pytest.fixture
def make_segmenter() -> Callable[..., Any]:
    """Build the tiny network from a fixed seed, in evaluation mode, with settings changed."""
    import torch  # here, because many tests do without it

    from salt.models.segmenter import Segmenter, config_from

    def build(**changes: Any) -> Segmenter:
        torch.manual_seed(0)
        return Segmenter(config_from(tiny_params()["model"] | changes)).eval()

    return build

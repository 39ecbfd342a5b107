"""torch.compile of the network that is trained."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from line_task import CONFIG, CPU, Line
from torch import nn

from salt.errors import TrainingError
from salt.fit.loop import Fit
from salt.fit.processes import Processes

COMPILER = os.environ.get("CXX", "g++")


def fit(folder: Path, compiled: bool) -> Fit:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    config = replace(CONFIG, epochs=2, compile=compiled)
    return Fit(model, Line(), config, folder / str(compiled), Processes(CPU))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason="needs a C++ compiler")
def test_a_compiled_network_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    plain, _ = fit(tmp_path, compiled=False).run(lambda *_: None)
    counters.clear()
    compiled, _ = fit(tmp_path, compiled=True).run(lambda *_: None)
    assert counters["stats"]["unique_graphs"] > 0
    assert compiled.keys() == plain.keys()
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name])


def test_without_a_compiler_training_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(TrainingError, match=r"set train.compile to false"):
        fit(tmp_path, compiled=True)

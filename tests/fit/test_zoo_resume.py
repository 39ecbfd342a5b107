"""A network whose modules are registered twice is trained and resumed like any other."""

from pathlib import Path

import pytest
import torch
from fold_task import fold_of, task_on
from line_task import CPU, assert_same
from tiny_project import tiny_params

from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.task import FitConfig
from salt.models.registry import build_model
from salt.models.segmenter import config_from


def test_dynunet_is_trained_and_continued_to_the_bit(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("monai")
    data = fold_of(project)
    settings = {"architecture": "dynunet", "width": 4, "normalisation": "instance"}
    settings |= {"decoder_channels": [8, 8, 8], "attention": "none", "deep_supervision": True}
    config = FitConfig(epochs=2, learning_rate=1e-3, weight_decay=0.01, ema_decay=0.9)

    def run(name: str, break_off: bool = False) -> dict[str, torch.Tensor]:
        def report(*_) -> None:
            if break_off:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        model = build_model(config_from(tiny_params()["model"] | settings))
        task = task_on(data, loss={"auxiliary_weight": 0.5})
        return Fit(model, task, config, tmp_path / name, Processes(CPU)).run(report)[0]

    with pytest.raises(KeyboardInterrupt):
        run("broken", break_off=True)
    assert_same(run("broken"), run("whole"))

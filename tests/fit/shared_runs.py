"""Train as the given number of processes, and record what each of them saw and said.

    python shared_runs.py PROJECT OUT DEVICES

A script, because Lightning Fabric starts the other processes by starting the script again.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from fold_task import fold_of, task_on
from line_task import CONFIG, Line, Points, line_model
from tiny_project import tiny_params

from salt.errors import TrainingError
from salt.files import write_csv, write_json
from salt.fit.loop import Fit
from salt.fit.processes import Processes, launch
from salt.fit.task import FitConfig
from salt.models.registry import build_model
from salt.models.segmenter import config_from
from salt.models.weights import save_weights

EPOCHS = 2
NETWORK = {  # without batch norm and dropout, a tile's output depends on no other tile
    "architecture": "plain_unet",
    "width": 4,
    "normalisation": "none",
    "decoder_dropout": 0.0,
    "attention": "none",
    "presence_head": False,
}


class SharedLine(Line):
    """Yield a process's points of every batch."""

    def __init__(self, part: slice, scores: list[float] | None = None) -> None:
        super().__init__(scores)
        self.part = part

    def batches(self, epoch: int):
        for batch in super().batches(epoch):
            yield Points(batch.inputs[self.part], batch.targets[self.part], batch.ids[self.part])


def fit_tiles(project: Path, out: Path, processes: Processes) -> None:
    """Train a network on tiles; keep its weights, history and the tiles seen in each epoch."""
    data = fold_of(project)
    task = task_on(data, loss={"presence_weight": 0.0}, part=processes.part)
    seen = {str(epoch): [i for b in task.batches(epoch) for i in b.ids] for epoch in range(EPOCHS)}
    write_json(out / f"seen_{processes.rank}.json", seen)
    torch.manual_seed(0)
    model = build_model(config_from(tiny_params()["model"] | NETWORK))
    config = FitConfig(epochs=EPOCHS, learning_rate=1e-3, weight_decay=0.01, ema_decay=0.9)
    fit = Fit(model, task, config, out / "tiles", processes)
    state, history = fit.run(lambda *_: None)
    if processes.first:
        save_weights(state, out / "tiles.safetensors")
        write_csv(out / "tiles.csv", history)


def fit_line(out: Path, name: str, processes: Processes, broken_epoch: int | None = None) -> None:
    """Train a network with batch norm and dropout; keep its weights unless it is broken off."""
    task = SharedLine(processes.part)
    task.broken_epoch = broken_epoch
    config = replace(CONFIG, accumulate=2, ema_decay=0.9)
    fit = Fit(line_model(), task, config, out / name, processes)
    try:
        state, _ = fit.run(lambda *_: None)
    except KeyboardInterrupt:
        return
    if processes.first:
        save_weights(state, out / f"{name}.safetensors")


def fit_scored_line(out: Path, processes: Processes) -> None:
    """Let validation scores, which the first process alone knows, lower the rate and end the run.

    Without batch norm and dropout, and with the mean of the last epochs as the result.
    """
    task = SharedLine(processes.part, [0.1, 0.5, 0.6, 0.4, 0.3, 0.9, 0.9])
    config = replace(CONFIG, epochs=6, schedule="plateau", plateau_patience=0)
    config = replace(config, swa_start=0.5, early_stopping=2)
    torch.manual_seed(0)
    fit = Fit(torch.nn.Linear(2, 1), task, config, out / "scored", processes)
    state, history = fit.run(lambda *_: None)
    if processes.first:
        save_weights(state, out / "scored.safetensors")
        write_csv(out / "scored.csv", history)


def fit_spoilt_line(out: Path, processes: Processes) -> None:
    """Train on a point that is no number, and keep how each process ends."""
    task = SharedLine(processes.part)
    task.spoilt_epoch = 2
    fit = Fit(line_model(), task, CONFIG, out / "spoilt", processes)
    try:
        fit.run(lambda *_: None)
    except (TrainingError, SystemExit) as error:
        write_json(out / f"end_{processes.rank}.json", [type(error).__name__, str(error)])


def main(project: Path, out: Path, devices: int) -> None:
    """Run every part, one after the other."""
    processes = launch(torch.device("cpu"), devices, nodes=1, batch_size=4)
    fit_tiles(project, out, processes)
    fit_line(out, "whole", processes)
    fit_line(out, "broken", processes, broken_epoch=2)
    fit_line(out, "broken", processes)
    fit_scored_line(out, processes)
    fit_spoilt_line(out, processes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

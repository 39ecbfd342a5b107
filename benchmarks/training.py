"""Speed of training and inference; benchmarks/results/training_cpu.json or training_gpu.json.

    python -m benchmarks.training [--profile tgs-cpu] [--rounds 3] [--workers 0] [--write]

Three ways train a network on the same tiles, in turns, so that a busy moment hits all of them:

- `salt`: this project's loop and data (tiles in memory, bfloat16, channels last);
- `plain`: the same network, loss and optimiser as a notebook has them: a PNG decoded per item,
  float32, contiguous tensors, the batch's distance transforms in the main process;
- `lightning_smp`: a minimal Lightning script around segmentation-models-pytorch's U-Net of the
  same encoder and decoder channels, bfloat16, tiles in memory, Dice + focal loss without
  distances; only for a profile whose network that library has.

A turn is three epochs: the first warms up, the others are timed whole, with the start of their
loading processes, which weighs more in these short epochs than in real ones. Ratios are of images
a second, medians over the rounds; above 1 `salt` is the faster. `parts` says where the time of a
`salt` step goes, its data prepared in one process. `inference` compares prediction of this project
with float32 on contiguous tensors. On a GPU there are also the share of the time that it waits for
data, the memory, and the share of the rate that it reaches in a large bfloat16 matrix product.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_ways import (
    SEED,
    Pace,
    Subject,
    draw_tiles,
    salt_fit,
    train_lightning_smp,
    train_plain,
    train_salt,
    write_pngs,
)
from salt.dataset import ordered_batches, training_batches
from salt.files import write_json
from salt.fit.devices import open_device
from salt.models.precision import autocast
from salt.models.predict import BATCH_SIZE, predict
from salt.models.registry import build_model
from salt.models.segmenter import Network
from salt.padding import crop
from salt.params import parse_params, read_yaml
from salt.profiles import merged
from salt.store import TILE_SIZE

RESULTS = Path(__file__).parent / "results"
STEPS = 20  # in an epoch of one way
WARM_UP = 4  # steps whose parts are not timed
MATRIX, PRODUCTS = 8192, 20  # side and number, to measure what the GPU can do
SETTINGS = {  # the loss whose targets cost most, and nothing that other ways do not have
    "model": {"presence_head": True, "hypercolumn": False},
    "loss": {
        "dice_weight": 1.0,
        "bce_weight": 0.0,
        "focal_weight": 1.0,
        "lovasz_weight": 0.0,
        "boundary_weight": 0.1,
        "presence_weight": 0.1,
    },
    "train": {"precision": "bf16", "ema_decay": 0.0, "swa_start": 1.0},
}


def main() -> None:
    """Measure all ways in turns and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--profile", default="tgs-cpu", help="whose network and batch")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every way")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare data")
    parser.add_argument("--write", action="store_true", help=f"record the figures in {RESULTS}")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        subject = open_subject(arguments.profile, Path(folder), arguments.workers)
        result = measure(subject, arguments.rounds)
    result["profile"] = arguments.profile
    for name, value in result.items():
        print(f"{name}: {value}")
    if arguments.write:
        kind = "gpu" if subject.device.type == "cuda" else "cpu"
        write_json(RESULTS / f"training_{kind}.json", result)


def open_subject(profile: str, folder: Path, workers: int) -> Subject:
    """Read a profile and draw the tiles that all ways train on."""
    content = read_yaml(Path("params.yaml"))
    for overlay in ("demo", profile):
        content = merged(content, read_yaml(Path("profiles") / f"{overlay}.yaml"))
    params = parse_params(merged(content, SETTINGS), "benchmarks/training.py")
    device = open_device("auto", params.runtime.threads, deterministic=False)
    tiles = draw_tiles(STEPS * params.train.batch_size, params.model.stack_width)
    subject = Subject(params, tiles, folder, device, workers)
    write_pngs(subject)
    return subject


def measure(subject: Subject, rounds: int) -> dict[str, Any]:
    """Return all figures."""
    ways: dict[str, Callable[[Subject], Pace]] = {"salt": train_salt, "plain": train_plain}
    if subject.model_config.architecture == "unet":
        ways["lightning_smp"] = train_lightning_smp
    paces: dict[str, list[Pace]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, way in ways.items():
            paces[name].append(way(subject))
            speed = paces[name][-1].images_per_second
            print(f"round {turn + 1}, {name}: {speed:.1f} images/s", flush=True)
    figures = compare(paces) | {
        "parts_ms_per_step": time_parts(subject),
        "inference": measure_inference(subject),
        "network": f"{subject.model_config.architecture}, {subject.model_config.encoder}",
        "batch_size": subject.batch_size,
        "workers": subject.workers,
        "machine": describe_machine(subject),
    }
    if subject.device.type == "cuda":
        figures["gpu"] = measure_gpu(subject, figures["images_per_second"]["salt"])
    return figures


def compare(paces: dict[str, list[Pace]]) -> dict[str, Any]:
    """Return medians over the rounds, every round, and the ratios of `salt` to the other ways."""
    speeds = {name: [pace.images_per_second for pace in turns] for name, turns in paces.items()}
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {
        f"ratio_to_{name}": round(medians["salt"] / median, 3)
        for name, median in medians.items()
        if name != "salt"
    }
    waits = [pace.waiting_share for pace in paces["salt"]]
    return ratios | {
        "images_per_second": {name: round(value, 1) for name, value in medians.items()},
        "rounds": {name: [round(value, 1) for value in each] for name, each in speeds.items()},
        "waiting_share": round(statistics.median(waits), 4),
    }


def time_parts(subject: Subject) -> dict[str, float]:
    """Return the milliseconds of each part of a `salt` step, one after the other.

    The data's parts are differences of whole epochs without and with the part.
    """
    task, fit = salt_fit(subject)
    common = {"epoch": 0, "seed": SEED, "batch_size": subject.batch_size}
    plain = _per_batch(subject, **common, augmentation=None)
    augmented = _per_batch(subject, **common, augmentation=subject.augmentation)
    whole = _per_batch(subject, **common, augmentation=subject.augmentation, distances=True)
    rows: list[np.ndarray] = []
    for batch in task.batches(0):
        batch, clock = batch.to(subject.device), [_now(subject)]
        with autocast(subject.device, subject.params.train.precision):
            loss = task.loss(fit.model, batch, 0.0)
        clock.append(_now(subject))
        fit.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clock.append(_now(subject))
        fit._update(0)
        clock.append(_now(subject))
        rows.append(np.diff(clock))
    seconds = [plain, augmented - plain, whole - augmented, *np.median(rows[WARM_UP:], axis=0)]
    names = ("load", "augment", "distances", "forward", "backward", "step")
    return {name: round(1000 * float(s), 1) for name, s in zip(names, seconds, strict=True)}


def _now(subject: Subject) -> float:
    subject.finish()
    return time.perf_counter()


def _per_batch(subject: Subject, **settings: Any) -> float:
    started = time.perf_counter()
    count = sum(1 for _ in training_batches(subject.tiles, **settings))
    return (time.perf_counter() - started) / count


def measure_inference(subject: Subject) -> dict[str, Any]:
    """Return tiles a second of this project's prediction and of the plain way's."""
    tiles, speeds = subject.tiles, {}
    precision = subject.params.train.precision
    ways: dict[str, Callable[[Network], Any]] = {
        "salt": lambda model: predict(
            model.to(memory_format=torch.channels_last),
            tiles.images,
            tiles.stacks,
            precision=precision,
            name="",
        ),
        "plain": lambda model: predict_plainly(model, subject),
    }
    for name, way in ways.items():
        model = build_model(subject.model_config).to(subject.device).eval()
        for _ in range(2):  # the second one counts
            started = _now(subject)
            way(model)
            speeds[name] = round(len(tiles) / (_now(subject) - started), 1)
    ratio = round(speeds["salt"] / speeds["plain"], 3)
    return {"tiles_per_second": speeds, "ratio_to_plain": ratio}


def predict_plainly(model: Network, subject: Subject) -> np.ndarray:
    """Predict in float32 on contiguous tensors."""
    config, tiles = subject.model_config, subject.tiles
    maps = []
    with torch.no_grad():
        for images in ordered_batches(tiles.images, tiles.stacks, BATCH_SIZE, config.input_size):
            logits = crop(model(images.to(subject.device)).mask_logits, TILE_SIZE)
            maps.append(torch.sigmoid(logits).cpu().numpy())
    return np.concatenate(maps)


def measure_gpu(subject: Subject, images_per_second: float) -> dict[str, float]:
    """Return the memory of a training step and how much of the GPU's bfloat16 rate it reaches."""
    task, fit = salt_fit(subject)
    batch = next(iter(task.batches(0))).to(subject.device)
    torch.cuda.reset_peak_memory_stats()
    with FlopCounterMode(display=False) as counter:
        fit._step(batch, 0, 0)
    operations = counter.get_total_flops() / subject.batch_size * images_per_second
    rate = bfloat16_rate(subject)
    return {
        "memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "bf16_tflops": round(rate / 1e12, 1),
        "share_of_bf16_rate": round(operations / rate, 4),
    }


def bfloat16_rate(subject: Subject) -> float:
    """Return floating-point operations a second of a large matrix product."""
    matrix = torch.randn(MATRIX, MATRIX, device=subject.device, dtype=torch.bfloat16)
    matrix @ matrix
    started = _now(subject)
    for _ in range(PRODUCTS):
        matrix @ matrix
    return 2 * MATRIX**3 * PRODUCTS / (_now(subject) - started)


def describe_machine(subject: Subject) -> dict[str, Any]:
    """Return what the figures were measured on."""
    gpu = subject.device.type == "cuda"
    return {
        "cpus": os.cpu_count(),
        "threads": subject.params.runtime.threads,
        "device": torch.cuda.get_device_name() if gpu else "cpu",
    }


if __name__ == "__main__":
    main()

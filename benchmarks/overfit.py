"""Whether every architecture can learn eight tiles by heart; benchmarks/results/overfit.json.

    python -m benchmarks.overfit [--only segnet linknet] [--threads 2] [--write]

A network that cannot is wired wrongly. The tiles are a modelled section of the demo's kind,
with their true masks; dropout is off, and the Dice is that of all eight tiles together, in
evaluation mode, at threshold 0.5.

With `--write` every answer is recorded as soon as it is there, and a later run passes over
those recorded under the same settings on as many CPUs: a stopped run goes on where it was.
"""

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from salt.dataset import normalise
from salt.errors import ModelError
from salt.files import read_json, write_json
from salt.losses.dice import dice_loss
from salt.models.cost import parameter_count
from salt.models.references import reference
from salt.models.registry import ARCHITECTURES, build_model
from salt.models.segmenter import ModelConfig, Network
from salt.padding import crop, pad
from salt.synthesis.block import cut, draw_block

RESULT = Path(__file__).parent / "results" / "overfit.json"
SEED = 2018
ENOUGH = 0.95  # Dice
STEPS, LOOK_EVERY, LEARNING_RATE = 600, 20, 2e-3
SETTINGS: dict[str, Any] = {
    "learning_rate": LEARNING_RATE,
    "look_every": LOOK_EVERY,
    "most_steps": STEPS,
    "enough_dice": ENOUGH,
    "seed": SEED,
}
SMALL: dict[str, Any] = {
    "encoder": "resnet18",
    "encoder_depths": [1, 1, 1],
    "decoder_channels": [64, 32, 32, 16],
    "decoder_dropout": 0.0,
    "input_size": 101,
}
COARSE = {"decoder_channels": [64, 32, 32]}  # read at an eighth, for a sixteenth is too coarse
CHANGES: dict[str, dict[str, Any]] = {
    "hybrid": {"encoder": "swinv2", "attention": "scse", "input_size": 112},
    "unet": {"input_size": 112},
    "fcn": COARSE,
    "pspnet": COARSE,
    "swin_unetr": {"width": 24},
}


def main() -> None:
    """Overfit each network in turn and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for torch")
    parser.add_argument("--write", action="store_true", help=f"record in {RESULT.name}")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = {"cpus": os.cpu_count(), "threads": options.threads}
    rows = recorded_rows(machine) if options.write else {}
    for name in options.only:
        if rows.get(name, {}).get("network") != fingerprint(name):
            rows[name] = attempt(name)
            if options.write:
                networks = [rows[known] for known in ARCHITECTURES if known in rows]
                result = {"machine": machine, "networks": networks, "settings": SETTINGS}
                write_json(RESULT, result)
        print("  ".join(f"{key}: {value}" for key, value in rows[name].items()), flush=True)


def recorded_rows(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows on record by architecture; none if machine or settings were others."""
    if not RESULT.exists():
        return {}
    recorded = read_json(RESULT)
    if (recorded["machine"], recorded["settings"]) != (machine, SETTINGS):
        return {}
    return {row["architecture"]: row for row in recorded["networks"]}


def fingerprint(name: str) -> str:
    """Return a digest of the network's settings, by which a row is known to be of this network."""
    settings = json.dumps(asdict(settings_of(name)), sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


def attempt(name: str) -> dict[str, Any]:
    """Return the row of an architecture; without its library an error, to be tried again."""
    try:
        return overfit(name) | {"network": fingerprint(name)}
    except ModelError as error:
        return {"architecture": name, "error": str(error)}


def overfit(name: str) -> dict[str, Any]:
    """Train one architecture on eight tiles until it knows them or its steps are used up."""
    torch.manual_seed(SEED)
    network = build_model(settings_of(name))
    images, masks = draw_tiles()
    images = pad(images, network.config.input_size)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    started, dice, step = time.perf_counter(), 0.0, 0
    while dice <= ENOUGH and step < STEPS:
        for _ in range(LOOK_EVERY):
            learn(network.train(), images, masks, optimiser)
        step += LOOK_EVERY
        dice = score(network.eval(), images, masks)
    return {
        "architecture": name,
        "dice": round(dice, 4),
        "steps": step,
        "seconds": round(time.perf_counter() - started, 1),
        "parameters": parameter_count(network),
    }


def settings_of(name: str) -> ModelConfig:
    """Return small settings under which the architecture can draw a fine mask."""
    narrow = {"width": 16} if "width" in ARCHITECTURES[name].options else {}
    return reference(name, SMALL | narrow | CHANGES.get(name, {}))


def draw_tiles() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a modelled section: stacks of equal tiles [8, 3, 101, 101], masks [8, 1, 101, 101]."""
    block = draw_block(SEED, inlines=1, rows=2, columns=4, empty_tiles=2)
    images, masks = (
        cut(sections).reshape(8, 1, 101, 101) for sections in (block.images, block.masks)
    )
    return normalise(np.repeat(images, 3, axis=1)), torch.from_numpy(masks.astype(np.float32))


def learn(
    network: Network,
    images: torch.Tensor,
    masks: torch.Tensor,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Take one step on all tiles: cross-entropy and Dice of the mask, cross-entropy of presence."""
    output = network(images)
    logits = crop(output.mask_logits, masks.shape[-1])
    loss = F.binary_cross_entropy_with_logits(logits, masks)
    loss = loss + dice_loss(logits, masks, torch.ones_like(masks))
    if output.presence_logits is not None:
        presence = masks.amax((2, 3))
        loss = loss + F.binary_cross_entropy_with_logits(output.presence_logits, presence)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def score(network: Network, images: torch.Tensor, masks: torch.Tensor) -> float:
    """Return the Dice of all tiles together."""
    predicted = (crop(network(images).mask_logits, masks.shape[-1]) > 0).float()
    return float(2 * (predicted * masks).sum() / (predicted.sum() + masks.sum()))


if __name__ == "__main__":
    main()

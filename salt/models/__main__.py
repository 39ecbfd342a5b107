"""List every architecture with its parameters and, on request, its cost on this machine.

    python -m salt.models [--cost] [--threads 2]

Each is built at the settings of `REFERENCES`, on 2.5-D stacks of three tiles: what its source
uses, at widths that suit tiles of 101 pixels. The output is a Markdown table.
"""

import argparse
import sys
from typing import Any

import torch

from salt.errors import ModelError, reported_errors
from salt.models.cost import measure_cost, parameter_count
from salt.models.registry import ARCHITECTURES, build_model
from salt.models.segmenter import ModelConfig, config_from

BATCH_SIZE = 16
COMMON: dict[str, Any] = {
    "encoder": "resnet34",
    "encoder_width": 32,
    "encoder_depths": [1, 1, 2],
    "encoder_weights": "none",
    "decoder_channels": [128, 64, 32, 16],
    "decoder_dropout": 0.1,
    "attention": "none",
    "presence_head": True,
    "input_size": 112,
    "stack_width": 3,
}
# What a row changes of the settings above; several rows of an architecture show its encoders.
REFERENCES: list[tuple[str, dict[str, Any]]] = [
    ("hybrid", {"encoder": "swinv2", "attention": "scse"}),
    ("hybrid", {"encoder": "sam2_hiera_tiny", "input_size": 128}),
    ("unet", {}),
    ("unet", {"encoder": "vgg16_bn"}),
    ("unet", {"encoder": "xception41"}),
    ("unet", {"encoder": "efficientnet_b0"}),
    ("unet", {"encoder": "convnext_atto"}),
    ("unet", {"encoder": "hrnet_w18_small", "input_size": 128}),
    ("plain_unet", {"width": 64}),
    ("residual_unet", {"width": 16, "input_size": 101}),
    ("segnet", {"width": 64, "input_size": 101, "decoder_channels": [64] * 5}),
    ("psp_unet", {"width": 32, "attention": "scse"}),
    ("unetplusplus", {}),
    ("deeplabv3plus", {}),
    ("pspnet", {"decoder_channels": [128, 64, 32]}),
    ("linknet", {}),
    ("fpn", {}),
    ("upernet", {}),
    ("manet", {}),
    ("segformer", {}),
    ("fcn", {"decoder_channels": [128, 64, 32]}),
    ("monai_unet", {"width": 32}),
    ("attention_unet", {"width": 32}),
    ("dynunet", {"width": 32, "normalisation": "instance", "deep_supervision": True}),
    ("segresnet", {"width": 16, "normalisation": "group", "decoder_channels": [64] * 3}),
    ("swin_unetr", {"width": 24, "normalisation": "instance", "input_size": 128}),
]
HEADINGS = ["architecture", "encoder", "from", "presence from", "input", "parameters (M)"]
COST_HEADINGS = ["training (ms/tile)", "inference (ms/tile)"]


def main() -> None:
    """Print the table; an architecture whose library is missing is named on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", action="store_true", help="also measure time per tile")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    headings = HEADINGS + COST_HEADINGS * options.cost
    print(_line(headings), _line(["---"] * len(headings)), sep="\n")
    for name, changes in REFERENCES:
        try:
            print(_line(describe(reference(name, changes), options.cost)), flush=True)
        except ModelError as error:
            print(error, file=sys.stderr)


def reference(name: str, changes: dict[str, Any]) -> ModelConfig:
    """Return the settings that a row of the table is built with."""
    return config_from(COMMON | {"architecture": name} | changes)


def describe(config: ModelConfig, cost: bool) -> list[str]:
    """Build a network and return its cells."""
    torch.manual_seed(0)
    entry, network = ARCHITECTURES[config.architecture], build_model(config)
    cells = [
        config.architecture,
        config.encoder if entry.encoder else "",
        entry.source,
        entry.presence,
        str(config.input_size),
        f"{parameter_count(network) / 1e6:.2f}",
    ]
    if cost:
        cells += [f"{value:.1f}" for value in measure_cost(network, BATCH_SIZE)]
    return cells


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    with reported_errors():
        main()

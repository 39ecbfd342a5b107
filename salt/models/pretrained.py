"""Pretrained encoders: where their weights come from, and that they arrive whole.

timm loads what it can place and says nothing of the rest; here the rest is refused.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

from salt.errors import ModelError, in_one_line
from salt.models.weights import read_weights

IMAGENET = "imagenet"
PLACES = "pos_embed"  # what Hiera adds to each token; no other encoder of ours has it
OPTIONAL_BUFFERS = (  # older checkpoints have or lack them; they follow from the settings
    "attn_mask",
    "relative_coords_table",
    "relative_position_index",
    "num_batches_tracked",
)


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a whole timm model, classifier included or not.

    Attributes:
        name: the timm model.
        source: `imagenet` or the file they come from.
        tensors: by timm's own keys.
        known: the keys of the whole model.
    """

    name: str
    source: str
    tensors: dict[str, torch.Tensor]
    known: frozenset[str]

    @property
    def overlay(self) -> dict[str, Any]:
        """The `pretrained_cfg_overlay` that has `timm.create_model` load it where `pretrained`.

        timm adapts the first convolution to the stack's width.
        """
        return {"state_dict": self.tensors}

    def require_whole(self, backbone: nn.Module) -> None:
        """Check that nothing was left out when timm loaded it, and say what matched.

        Raises:
            ModelError: a tensor of the backbone is missing, or one is unknown to the whole model.
        """
        found, own = {_plain(key) for key in self.tensors}, backbone.state_dict()
        missing = [key for key in own if _plain(key) not in found]
        unexpected = [key for key in self.tensors if key not in self.known]
        if any(not key.endswith(OPTIONAL_BUFFERS) for key in missing + unexpected):
            raise ModelError(
                f"{self.source} does not fit the encoder: missing {missing}, unexpected "
                f"{unexpected}. Use a checkpoint of this very timm model, or change model.encoder."
            )
        _let_go(backbone)
        used = len(own) - len(missing)
        print(f"encoder {self.name}: {used} of {len(self.tensors)} tensors of {self.source}")


def find_checkpoint(name: str, options: dict[str, Any], source: str) -> Checkpoint:
    """Get the weights that a timm model starts from.

    Args:
        name, options: what the encoder is made of.
        source: `imagenet`, timm's own download, or a .safetensors file with timm's own keys.

    Raises:
        ModelError: timm has no such weights or its hub cannot be reached, or the file is missing
            or damaged.
    """
    whole = {key: options[key] for key in options.keys() - {"features_only", "out_indices"}}
    own = timm.create_model(name, **whole).state_dict()
    tensors = _downloaded(name) if source == IMAGENET else read_weights(Path(source))
    if PLACES in tensors and PLACES in own:
        tensors[PLACES] = on_grid(tensors[PLACES], own[PLACES].shape[1])
    return Checkpoint(name, source, tensors, frozenset(own))


def on_grid(places: torch.Tensor, tokens: int) -> torch.Tensor:
    """Interpolate embeddings of a square grid of places, [1, N, C], to [1, tokens, C].

    What is no square grid is returned as it is.
    """
    sides = [math.isqrt(count) for count in (places.shape[1], tokens)]
    if places.ndim != 3 or [side**2 for side in sides] != [places.shape[1], tokens]:
        return places
    return resample_abs_pos_embed(places, [sides[1]] * 2, num_prefix_tokens=0)


def _downloaded(name: str) -> dict[str, torch.Tensor]:
    """Return timm's plain pretrained model, which timm itself has checked to be whole."""
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # whatever the hub, the network or the loading raise
        raise ModelError(
            f"model.encoder_weights is {IMAGENET}, but timm gave no weights for {name} "
            f"({in_one_line(error)}); expected a connection to its hub, or an earlier download. "
            "Connect, or set none or a .safetensors file."
        ) from error


def _plain(key: str) -> str:
    """Return a key as all call it: feature wrappers rename `stages.0` to `model.stages_0`."""
    return key.removeprefix("model.").replace("_", ".")


def _let_go(backbone: nn.Module) -> None:
    """Drop the tensors from timm's notes on where weights came from: a copy of each, for good."""
    for module in backbone.modules():
        notes = getattr(module, "pretrained_cfg", None)
        if isinstance(notes, dict):
            notes.pop("state_dict", None)

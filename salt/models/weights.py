"""Weights as safetensors beside a JSON config; loading names every key that does not fit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from salt.errors import ModelError
from salt.files import replacing


def save_weights(
    state: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a state dict, and texts with it, as safetensors, atomically.

    Every tensor is copied: safetensors refuses two names of one tensor, which modules that are
    registered twice have (MONAI's DynUNet).

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    with replacing(path) as part:
        try:
            save_file(tensors, part, metadata=metadata)
        except SafetensorError as error:  # its own kind for whatever the disk refuses
            raise OSError(str(error)) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file.

    Raises:
        ModelError: the file is missing or damaged.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        raise ModelError(
            f"{path}: no such weights; expected a .safetensors file. Check the path, or convert "
            "a torch checkpoint with safetensors.torch.save_file."
        )
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own untyped errors
        raise ModelError(f"{path}: damaged safetensors file ({error}). Make it anew.") from error


def load_weights(module: nn.Module, path: Path, *, leave: tuple[str, ...] = ()) -> list[str]:
    """Load a .safetensors file into a module and return the names that matched.

    Args:
        leave: prefixes of keys that are neither loaded nor missed.

    Raises:
        ModelError: the file is missing or damaged, or a key is missing, unexpected or of
            another shape.
    """
    found = {key: t for key, t in read_weights(path).items() if not key.startswith(leave)}
    wanted = {key: t for key, t in module.state_dict().items() if not key.startswith(leave)}
    missing = [key for key in wanted if key not in found]
    unexpected = [key for key in found if key not in wanted]
    matched = [key for key in wanted if key in found]
    misshaped = [
        f"{key} {tuple(found[key].shape)} for {tuple(wanted[key].shape)}"
        for key in matched
        if found[key].shape != wanted[key].shape
    ]
    if missing or unexpected or misshaped or not matched:
        raise ModelError(
            f"{path} does not fit the model: {len(matched)} keys match, missing {missing}, "
            f"unexpected {unexpected}, of another shape {misshaped}. Use weights of the same "
            "model settings."
        )
    module.load_state_dict({key: found[key] for key in matched}, strict=False)
    return matched

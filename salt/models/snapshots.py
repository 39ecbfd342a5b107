"""A fold's networks on disk: the main one, and snapshots of it earlier in training beside it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from salt.models.registry import load_model
from salt.models.segmenter import ModelConfig, Network, save_model

SNAPSHOTS = "snapshots"


def snapshot_folders(folder: Path, snapshots: int) -> list[Path]:
    """Return the folder of each network, the oldest first: FOLDER/snapshots/1 ... and FOLDER.

    Args:
        snapshots: how many networks the fold has (`train.snapshots`); 0 and 1 are the main one.
    """
    return [*(folder / SNAPSHOTS / str(place) for place in range(1, snapshots)), folder]


def save_snapshots(
    states: Sequence[dict[str, torch.Tensor]], config: ModelConfig, folder: Path
) -> None:
    """Write each network's weights and config, the oldest first; other snapshots are removed."""
    discard_snapshots(folder)
    for state, place in zip(states, snapshot_folders(folder, len(states)), strict=True):
        save_model(state, config, place)


def load_snapshots(folder: Path, snapshots: int) -> list[Network]:
    """Rebuild each network in evaluation mode, the oldest first.

    Raises:
        ModelError: weights do not fit their config.
        StoreError: a file is missing.
    """
    return [load_model(place) for place in snapshot_folders(folder, snapshots)]


def discard_snapshots(folder: Path) -> None:
    """Remove the snapshots that an earlier run left beside the main network."""
    shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)

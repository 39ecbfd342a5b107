"""Pseudo-labels: test tiles on which a fold's network agrees with itself, as further labels.

For fold k only the network that never saw fold k labels tiles, so nothing of fold k's truth
can come back to it through them (self-training: Yarowsky 1995; Lee 2013). Its members are the
views and dropout passes of each tile. The share of empty masks is held to that of the labelled
tiles the network learnt from: unheld, a second round drifts towards what is easiest, no salt.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from salt.dataset import TileImages, open_stacks
from salt.files import read_csv, write_array, write_csv, write_json
from salt.infer.uncertainty import MAPS_AT_ONCE, VIEWS, binary_entropy, sample_passes
from salt.metrics import tile_scores
from salt.models.precision import autocast
from salt.models.predict import BATCH_SIZE, device_batches, images_as_trained
from salt.models.registry import load_model
from salt.models.segmenter import Network
from salt.store import TileStore


@dataclass(frozen=True)
class Agreement:
    """How a network's members judge each tile.

    Attributes:
        masks: uint8 {0, 1} [n, S, S], the mean probability above one half.
        agreement: float64 [n] in [0, 1], mean score of the members' masks against that mask.
        entropy: float64 [n], mean predictive entropy over the tile, in nats.
    """

    masks: np.ndarray
    agreement: np.ndarray
    entropy: np.ndarray


def label_fold(
    train: Path,
    ingest: Path,
    index: Path,
    *,
    fold: int,
    share: float,
    agreement: float,
    passes: int,
    tta: str,
    precision: str,
    device: torch.device,
    out: Path,
) -> None:
    """Write masks.npy (uint8 [m, S, S]), tiles.csv (id, agreement) and summary.json.

    Args:
        train: the fold's network.
        share: pseudo-labelled tiles wanted, as a share of the fold's training tiles; 0 asks
            nothing of the network and writes no tile.
        agreement: least agreement of the members, in [0, 1].
        passes, tta: the members: so many dropout passes of each of the tile's `VIEWS`.
    """
    model = load_model(train).to(device).to(memory_format=torch.channels_last)
    store, stacks = open_stacks(ingest, index, model.config.stack_width)
    folds = read_csv(index / "folds.csv")
    learnt = store.rows_of(list(folds["id"][folds["fold"] != fold]))
    empty_share = float((~store.masks[learnt].any(axis=(1, 2))).mean())
    wanted = round(share * len(learnt))
    rows = _unlabelled_rows(store) if wanted else np.empty(0, np.int64)
    judged = judge_tiles(
        model,
        images_as_trained(model.config, store, index),
        stacks[rows],
        passes=passes,
        tta=tta,
        precision=precision,
        name=f"pseudo@{fold}",
    )
    chosen = choose_tiles(judged, count=wanted, empty_share=empty_share, least=agreement)
    table = pd.DataFrame({"id": store.table["id"].iloc[rows[chosen]]})
    write_array(out / "masks.npy", judged.masks[chosen])
    write_csv(out / "tiles.csv", table.assign(agreement=judged.agreement[chosen]))
    write_json(out / "summary.json", _summary(judged, chosen, wanted, empty_share))


def judge_tiles(
    model: Network,
    images: TileImages,
    stacks: np.ndarray,
    *,
    passes: int,
    tta: str,
    precision: str,
    name: str,
) -> Agreement:
    """Run every member on each tile and compare them with their mean.

    Args:
        model: in evaluation mode.
        images: uint8 [n, S, S], or tiles with real margins if the model was trained with them.
        stacks: int64 [m, C] rows of them, one row per tile judged.
        passes, tta: so many dropout passes of each of the tile's `VIEWS`.
        name: of the progress bar.
    """
    size = images.shape[-1]
    masks = np.empty((len(stacks), size, size), np.uint8)
    agreement, entropy = np.empty((2, len(stacks)))
    device = next(model.parameters()).device
    tiles_at_once = max(min(BATCH_SIZE, MAPS_AT_ONCE // (passes * len(VIEWS[tta]))), 1)
    with torch.inference_mode(), autocast(device, precision):
        for rows, batch in device_batches(model, images, stacks, device, name, tiles_at_once):
            samples = [sample_passes(model, batch, passes, size, view)[0] for view in VIEWS[tta]]
            members = torch.cat(samples)  # [views * passes, B, S, S]
            mean = members.mean(0)
            masks[rows] = (mean > 0.5).cpu().numpy()
            agreement[rows] = mean_agreement((members > 0.5).cpu().numpy(), masks[rows])
            entropy[rows] = binary_entropy(mean).mean((1, 2)).cpu().numpy()
    return Agreement(masks, agreement, entropy)


def mean_agreement(members: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the mean score of the members' masks [M, n, S, S] against masks [n, S, S]."""
    return np.mean([tile_scores(member, masks) for member in members], axis=0)


def choose_tiles(judged: Agreement, *, count: int, empty_share: float, least: float) -> np.ndarray:
    """Return up to `count` indices, ascending, `empty_share` of them with empty masks.

    Of the tiles with at least the agreement `least` those with the least entropy are taken,
    among empty masks and among others apart; if one kind is short, fewer of the other are.
    """
    empty = ~judged.masks.any(axis=(1, 2))
    agreed = judged.agreement >= least
    shares = {True: empty_share, False: 1 - empty_share}
    for kind, share in shares.items():
        if share > 0:
            count = min(count, int((agreed & (empty == kind)).sum() / share))
    chosen = []
    for kind, share in shares.items():
        rows = np.flatnonzero(agreed & (empty == kind))
        surest = rows[np.argsort(judged.entropy[rows], kind="stable")]
        chosen.append(surest[: round(count * share)])
    return np.sort(np.concatenate(chosen))


def _unlabelled_rows(store: TileStore) -> np.ndarray:
    """Rows of the test tiles that are not constant: those teach nothing."""
    tiles = store.unlabelled
    return tiles["row"].to_numpy()[~tiles["is_constant"].to_numpy(bool)]


def _summary(
    judged: Agreement, chosen: np.ndarray, wanted: int, empty_share: float
) -> dict[str, Any]:
    masks = judged.masks[chosen]
    return {
        "judged": len(judged.masks),
        "wanted": wanted,
        "chosen": len(chosen),
        "least_agreement": float(judged.agreement[chosen].min()) if len(chosen) else None,
        "empty_share": float((~masks.any(axis=(1, 2))).mean()) if len(chosen) else None,
        "empty_share_of_labels": empty_share,
        "mean_coverage": float(masks.mean()) if len(chosen) else None,
    }

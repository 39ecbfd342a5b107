"""Pseudo-labels: test tiles on which a fold's network agrees with itself, as further labels.

For fold k only the network that never saw fold k labels tiles, so nothing of fold k's truth
can come back to it through them (self-training: Yarowsky 1995; Lee 2013). Its members are the
views and dropout passes of each tile, by each of its snapshots where there are several. The
share of empty masks is held to that of the labelled tiles the network learnt from: unheld, a
second round drifts towards what is easiest, no salt.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from salt.files import read_csv, write_array, write_csv, write_json
from salt.infer.uncertainty import FoldNetwork, binary_entropy, open_network
from salt.metrics import tile_scores
from salt.models.precision import autocast
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
    snapshots: int = 0,
) -> None:
    """Write masks.npy (uint8 [m, S, S]), tiles.csv (id, agreement) and summary.json.

    Args:
        train: the fold's network.
        share: pseudo-labelled tiles wanted, as a share of the fold's training tiles; 0 asks
            nothing of the network and writes no tile.
        agreement: least agreement of the members, in [0, 1].
        passes, tta: the members: so many dropout passes of each of the tile's `VIEWS`.
        snapshots: networks of the fold that give each of these, see `snapshot_folders`.
    """
    network = open_network(train, ingest, index, device, snapshots)
    store, folds = network.store, read_csv(index / "folds.csv")
    learnt = store.rows_of(list(folds["id"][folds["fold"] != fold]))
    empty_share = float((~store.masks[learnt].any(axis=(1, 2))).mean())
    wanted = round(share * len(learnt))
    rows = _unlabelled_rows(store) if wanted else np.empty(0, np.int64)
    with torch.inference_mode(), autocast(device, precision):
        judged = judge_tiles(network, rows, passes=passes, tta=tta, name=f"pseudo@{fold}")
    chosen = choose_tiles(judged, count=wanted, empty_share=empty_share, least=agreement)
    table = pd.DataFrame({"id": store.table["id"].iloc[rows[chosen]]})
    write_array(out / "masks.npy", judged.masks[chosen])
    write_csv(out / "tiles.csv", table.assign(agreement=judged.agreement[chosen]))
    write_json(out / "summary.json", _summary(judged, chosen, wanted, empty_share))


def judge_tiles(
    network: FoldNetwork, rows: np.ndarray, *, passes: int, tta: str, name: str
) -> Agreement:
    """Run every member on the store's `rows` and compare them with their mean.

    `passes` of each of a tile's `VIEWS` (`tta`) by each snapshot are the members; `name` is the
    progress bar's.
    """
    size = network.images.shape[-1]
    masks = np.empty((len(rows), size, size), np.uint8)
    agreement, entropy = np.empty((2, len(rows)))
    for at, (members, _) in network.samples(rows, passes, tta, name):
        mean = members.mean(0)
        masks[at] = (mean > 0.5).cpu().numpy()
        agreement[at] = mean_agreement((members > 0.5).cpu().numpy(), masks[at])
        entropy[at] = binary_entropy(mean).mean((1, 2)).cpu().numpy()
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

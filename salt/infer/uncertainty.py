"""Monte Carlo dropout (Gal and Ghahramani 2016, arXiv:1506.02142): mean and uncertainty maps.

Only the named dropout sites are random; batch norm and all else stay in evaluation mode.
What lies before the first site is the same in every pass and runs once; what lies behind it
runs T times, in batches. With s the share of a pass that lies behind the first site, T passes
cost 1 + (T - 1) s; `benchmarks/mc_dropout.py` measures both. Where a fold has snapshots of its
network (Huang et al. 2017, arXiv:1704.00109), each of them is asked alike.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from salt.dataset import TileImages, open_stacks
from salt.errors import ModelError
from salt.files import new_array, read_csv, write_csv, write_json
from salt.infer.views import PLAIN, VIEWS, View, show, unshow
from salt.maps import MAXIMA
from salt.models.decoder import DropoutSite
from salt.models.precision import autocast
from salt.models.predict import (
    BATCH_SIZE,
    device_batches,
    images_as_trained,
    p_presence,
    probability_maps,
)
from salt.models.segmenter import Network, Segmentation
from salt.models.snapshots import load_snapshots
from salt.padding import margins
from salt.stacks import lie_along_section, read_neighbours
from salt.store import TileStore

MAPS_AT_ONCE = 1024  # tiles' maps of all members that are held at once: 42 MB each copy


@dataclass(frozen=True)
class Moments:
    """What T probability maps of a batch say together, float32.

    Attributes:
        mean: [B, H, W] in [0, 1].
        variance: [B, H, W] over the passes, in [0, 0.25].
        entropy: [B, H, W] of the mean, in nats: total uncertainty.
        mutual_information: [B, H, W], in nats: the part the passes disagree about.
        presence, presence_std: [B], probability that the tile holds salt, and its spread.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    entropy: torch.Tensor
    mutual_information: torch.Tensor
    presence: torch.Tensor
    presence_std: torch.Tensor


def binary_entropy(probability: torch.Tensor) -> torch.Tensor:
    """Return -p ln p - (1 - p) ln (1 - p), 0 at 0 and 1; same shape."""
    return -(_p_log_p(probability) + _p_log_p(1 - probability))


def _p_log_p(p: torch.Tensor) -> torch.Tensor:
    """Return p ln p, 0 at 0; many times faster than `torch.special.entr`, which is a loop."""
    return p * p.clamp(min=torch.finfo(p.dtype).tiny).log()


def moments(probability: torch.Tensor, presence: torch.Tensor) -> Moments:
    """Summarise passes: probability [T, B, H, W] and presence [T, B]."""
    mean = probability.mean(0)
    entropy = binary_entropy(mean)
    information = (entropy - binary_entropy(probability).mean(0)).clamp(min=0)
    return Moments(
        mean=mean,
        variance=probability.var(0, correction=0),
        entropy=entropy,
        mutual_information=information,
        presence=presence.mean(0),
        presence_std=presence.std(0, correction=0),
    )


@contextmanager
def dropout_switched_on(model: Network) -> Iterator[None]:
    """Put a model in evaluation mode but for its dropout sites.

    Raises:
        ModelError: it has no site that drops anything, so every pass would be the same.
    """
    model.eval()
    sites = [m for m in model.modules() if isinstance(m, DropoutSite) and m.p > 0]
    if not sites:
        raise ModelError(
            "the model has no active dropout site, so Monte Carlo passes cannot differ; expected "
            "model.decoder_dropout above 0. Set it and retrain, or set uncertainty.passes to 1."
        )
    for site in sites:
        site.train()
    try:
        yield
    finally:
        model.eval()


def sample_passes(
    model: Network,
    images: torch.Tensor,
    passes: int,
    size: int,
    view: View = PLAIN,
    beside: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run T passes on padded images [B, C, P, P]: probability [T, B, size, size], presence [T, B].

    One pass is the plain deterministic one. More repeat what lies behind the first dropout
    site. The network sees the tiles as the view shows them, `beside` of their channels lying
    side by side; its answer is put back in place.

    Raises:
        ModelError: the model has no active dropout site, so several passes cannot differ.
    """
    settled = model.settle(show(images, view, beside))
    if passes == 1:
        outputs = [model.finish(settled)]
    else:
        with dropout_switched_on(model):
            outputs = _random_passes(model, settled, passes, len(images))
    outputs = [unshow(output, view) for output in outputs]
    shape = (passes, len(images))
    return (
        torch.cat([probability_maps(output, size) for output in outputs]).unflatten(0, shape),
        torch.cat([p_presence(output) for output in outputs]).unflatten(0, shape),
    )


def _random_passes(model: Network, settled: Any, passes: int, tiles: int) -> list[Segmentation]:
    """Finish `passes` times, as many at once as keep a batch of about BATCH_SIZE."""
    at_once = min(max(BATCH_SIZE // tiles, 1), passes)
    repeated = model.repeat(settled, at_once) if at_once > 1 else settled
    outputs = [model.finish(repeated) for _ in range(passes // at_once)]
    if passes % at_once:
        outputs.append(model.finish(model.repeat(settled, passes % at_once)))
    return outputs


def sample_views(
    model: Network, images: torch.Tensor, passes: int, size: int, tta: str, beside: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run `passes` of each view of the tiles, `tta` one of `VIEWS`: M = views x passes.

    The first `beside` channels lie side by side, see `show`.

    Returns:
        Probability [M, B, size, size] and presence [M, B].

    Raises:
        ModelError: a view moves tiles further than their margin, or passes cannot differ.
    """
    shift, margin = max(view.shift for view in VIEWS[tta]), min(margins(size, images.shape[-1]))
    if shift > margin:
        raise ModelError(
            f"ensemble.tta: {tta} moves tiles by {shift} pixels, and model.input_size: "
            f"{images.shape[-1]} leaves a margin of {margin}; expected one as wide. "
            "Set a larger input_size, or tta: flip."
        )
    samples = [sample_passes(model, images, passes, size, view, beside) for view in VIEWS[tta]]
    probability, presence = (torch.cat(parts) for parts in zip(*samples, strict=True))
    return probability, presence


def sample_networks(
    networks: Sequence[Network],
    images: torch.Tensor,
    passes: int,
    size: int,
    tta: str,
    beside: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run `sample_views` of every network: M = networks x views x passes members."""
    samples = [sample_views(model, images, passes, size, tta, beside) for model in networks]
    probability, presence = (torch.cat(parts) for parts in zip(*samples, strict=True))
    return probability, presence


def tiles_at_once(networks: int, passes: int, tta: str) -> int:
    """Return how many tiles make a batch, so that the maps of all members fit in memory."""
    return max(min(BATCH_SIZE, MAPS_AT_ONCE // (networks * passes * len(VIEWS[tta]))), 1)


@dataclass(frozen=True)
class FoldNetwork:
    """A fold's network on its device, and the tiles that it may be shown.

    Attributes:
        snapshots: the network at the ends of several cycles, the main one last; or that alone.
        images: every tile of the store, with real margins if the network was trained with them.
        stacks: int64 [n, C], rows of `images` for each tile.
        along_section: whether the channels of a stack lie side by side.
    """

    snapshots: tuple[Network, ...]
    store: TileStore
    images: TileImages
    stacks: np.ndarray
    along_section: bool = False

    def batches(
        self, rows: np.ndarray, name: str, batch_size: int = BATCH_SIZE
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the padded stacks of the store's `rows`; see `device_batches`."""
        model = self.snapshots[-1]  # all are padded alike
        device = next(model.parameters()).device
        return device_batches(model, self.images, self.stacks[rows], device, name, batch_size)

    def samples(
        self, rows: np.ndarray, passes: int, tta: str, name: str
    ) -> Iterator[tuple[slice, tuple[torch.Tensor, torch.Tensor]]]:
        """Yield (places among `rows`, `sample_networks` of their tiles) batch by batch."""
        size = self.images.shape[-1]
        beside = self.stacks.shape[1] if self.along_section else 0
        batch_size = tiles_at_once(len(self.snapshots), passes, tta)
        for at, batch in self.batches(rows, name, batch_size):
            yield at, sample_networks(self.snapshots, batch, passes, size, tta, beside)


def open_network(
    train: Path, ingest: Path, index: Path, device: torch.device, snapshots: int = 0
) -> FoldNetwork:
    """Open what a training stage wrote, with the tile store and neighbours it learnt from."""
    networks = [
        model.to(device).to(memory_format=torch.channels_last)
        for model in load_snapshots(train, snapshots)
    ]
    config = networks[-1].config
    store, stacks = open_stacks(ingest, index, config.stack_width)
    images = images_as_trained(config, store, index)
    along = lie_along_section(read_neighbours(index))
    return FoldNetwork(tuple(networks), store, images, stacks, along)


def measure_fold(
    train: Path,
    ingest: Path,
    index: Path,
    *,
    fold: int,
    passes: int,
    tta: str,
    precision: str,
    device: torch.device,
    out: Path,
    snapshots: int = 0,
) -> None:
    """Write mean and uncertainty maps of a fold's held-out tiles and of all test tiles.

    For each part (`oof`, `test`): PART_mean.npy float16, PART_variance.npy, PART_entropy.npy,
    PART_mutual_information.npy uint8 (see `MAXIMA`), PART_tiles.csv (id, presence, presence_std).
    Where there are several views and several passes, oof_views.npy float16 is the mean of one
    pass per view with dropout off, so that each can be scored; where there are several snapshots
    and more than a pass of each, oof_snapshots.npy that of one plain pass per snapshot.
    summary.json: passes, tta and, if any, snapshots.

    Args:
        snapshots: networks of the fold, see `snapshot_folders`.
    """
    network = open_network(train, ingest, index, device, snapshots)
    held_out = read_csv(train / "oof_tiles.csv")["id"]
    store = network.store
    parts = {"oof": store.rows_of(held_out), "test": store.unlabelled["row"].to_numpy()}
    with torch.inference_mode(), autocast(device, precision):
        for part, rows in parts.items():
            name = f"uncertainty@{fold} {part}"
            _measure(network, rows, out, part, passes=passes, tta=tta, name=name)
        for kind, views in _plain_means(snapshots, passes, tta).items():
            path, name = out / f"oof_{kind}.npy", f"uncertainty@{fold} oof {kind}"
            _measure_plain(network, parts["oof"], path, views, name)
    kept = {"snapshots": snapshots} if snapshots else {}
    write_json(out / "summary.json", {"passes": passes, "tta": tta} | kept)


def _plain_means(snapshots: int, passes: int, tta: str) -> dict[str, str]:
    """Name the means with dropout off that are not among the maps anyway, and their views."""
    several_views = len(VIEWS[tta]) > 1
    means = {"snapshots": "none"} if snapshots > 1 and (several_views or passes > 1) else {}
    return means | ({"views": tta} if several_views and passes > 1 else {})


def _measure(
    network: FoldNetwork,
    rows: np.ndarray,
    out: Path,
    part: str,
    *,
    passes: int,
    tta: str,
    name: str,
) -> None:
    size = network.images.shape[-1]
    shape = (len(rows), size, size)
    presence = np.empty((len(rows), 2), np.float32)
    with (
        new_array(out / f"{part}_mean.npy", shape, np.float16) as mean,
        new_array(out / f"{part}_variance.npy", shape, np.uint8) as variance,
        new_array(out / f"{part}_entropy.npy", shape, np.uint8) as entropy,
        new_array(out / f"{part}_mutual_information.npy", shape, np.uint8) as information,
    ):
        for at, samples in network.samples(rows, passes, tta, name):
            summary = moments(*samples)
            mean[at] = summary.mean.cpu().numpy()
            variance[at] = as_levels(summary.variance, MAXIMA["variance"])
            entropy[at] = as_levels(summary.entropy, MAXIMA["entropy"])
            information[at] = as_levels(summary.mutual_information, MAXIMA["mutual_information"])
            presence[at, 0] = summary.presence.cpu().numpy()
            presence[at, 1] = summary.presence_std.cpu().numpy()
    ids = list(network.store.table["id"].iloc[rows])
    columns = {"id": ids, "presence": presence[:, 0], "presence_std": presence[:, 1]}
    write_csv(out / f"{part}_tiles.csv", pd.DataFrame(columns))


def _measure_plain(network: FoldNetwork, rows: np.ndarray, path: Path, tta: str, name: str) -> None:
    size = network.images.shape[-1]
    with new_array(path, (len(rows), size, size), np.float16) as mean:
        for at, (probability, _) in network.samples(rows, 1, tta, name):
            mean[at] = probability.mean(0).cpu().numpy()


def as_levels(values: torch.Tensor, maximum: float) -> np.ndarray:
    """Quantise [0, maximum] to uint8, rounding."""
    return (values / maximum * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

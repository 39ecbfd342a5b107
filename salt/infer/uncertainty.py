"""Monte Carlo dropout (Gal and Ghahramani 2016, arXiv:1506.02142): mean and uncertainty maps.

Only the named dropout sites are random; batch norm and all else stay in evaluation mode.
What lies before the first site is the same in every pass and runs once; what lies behind it
runs T times, in batches. With s the share of a pass that lies behind the first site, T passes
cost 1 + (T - 1) s; `benchmarks/mc_dropout.py` measures both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from salt.dataset import TileImages, open_stacks
from salt.errors import ModelError
from salt.files import new_array, read_csv, write_csv
from salt.maps import MAXIMA
from salt.models.decoder import DropoutSite
from salt.models.precision import autocast
from salt.models.predict import (
    BATCH_SIZE,
    device_batches,
    images_as_trained,
    mirrored,
    p_presence,
    probability_maps,
)
from salt.models.registry import load_model
from salt.models.segmenter import Network, Segmentation
from salt.padding import margins

MAPS_AT_ONCE = 1024  # tiles times views times passes whose maps are held at once: 42 MB each copy


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


class View(NamedTuple):
    """A way to show a padded tile: mirrored or not, and moved right and down by pixels."""

    mirror: bool = False
    shift: int = 0


PLAIN = View()
SHIFT = 4  # pixels: a quarter of the coarsest feature's side
VIEWS = {
    "none": (PLAIN,),
    "flip": (PLAIN, View(mirror=True)),
    "flip_shift": tuple(View(m, s) for m in (False, True) for s in (0, -SHIFT, SHIFT)),
}


def show(images: torch.Tensor, view: View) -> torch.Tensor:
    """Return padded images [B, C, P, P] as the view shows them; what leaves comes in opposite."""
    shown = images.roll((view.shift, view.shift), (-2, -1)) if view.shift else images
    return shown.flip(-1) if view.mirror else shown


def unshow(output: Segmentation, view: View) -> Segmentation:
    """Put a view's output back in place; to be done before cropping, for margins are unequal."""
    placed = mirrored(output) if view.mirror else output
    if not view.shift:
        return placed
    back = placed.mask_logits.roll((-view.shift, -view.shift), (-2, -1))
    return placed._replace(mask_logits=back)


def sample_passes(
    model: Network, images: torch.Tensor, passes: int, size: int, view: View = PLAIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run T passes on padded images [B, C, P, P]: probability [T, B, size, size], presence [T, B].

    One pass is the plain deterministic one. More repeat what lies behind the first dropout
    site. The network sees the tiles as the view shows them; its answer is put back in place.

    Raises:
        ModelError: the model has no active dropout site, so several passes cannot differ.
    """
    settled = model.settle(show(images, view))
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


def sample_views(model: Network, images: torch.Tensor, passes: int, size: int, tta: str) -> Moments:
    """Pool `passes` of each view of the tiles; `tta` is one of `VIEWS`.

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
    samples = [sample_passes(model, images, passes, size, view) for view in VIEWS[tta]]
    probability, presence = (torch.cat(parts) for parts in zip(*samples, strict=True))
    return moments(probability, presence)


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
) -> None:
    """Write mean and uncertainty maps of a fold's held-out tiles and of all test tiles.

    For each part (`oof`, `test`): PART_mean.npy float16, PART_variance.npy, PART_entropy.npy,
    PART_mutual_information.npy uint8 (see `MAXIMA`), PART_tiles.csv (id, presence, presence_std).
    """
    model = load_model(train).to(device).to(memory_format=torch.channels_last)
    store, stacks = open_stacks(ingest, index, model.config.stack_width)
    images = images_as_trained(model.config, store, index)
    held_out = read_csv(train / "oof_tiles.csv")["id"]
    parts = {"oof": store.rows_of(held_out), "test": store.unlabelled["row"].to_numpy()}
    for part, rows in parts.items():
        with torch.inference_mode(), autocast(device, precision):
            _measure(
                model,
                images,
                stacks[rows],
                list(store.table["id"].iloc[rows]),
                out,
                part,
                passes=passes,
                tta=tta,
                name=f"uncertainty@{fold} {part}",
            )


def _measure(
    model: Network,
    images: TileImages,
    stacks: np.ndarray,
    ids: list[str],
    out: Path,
    part: str,
    *,
    passes: int,
    tta: str,
    name: str,
) -> None:
    size = images.shape[-1]
    shape = (len(stacks), size, size)
    presence = np.empty((len(stacks), 2), np.float32)
    device = next(model.parameters()).device
    tiles = max(min(BATCH_SIZE, MAPS_AT_ONCE // (passes * len(VIEWS[tta]))), 1)
    with (
        new_array(out / f"{part}_mean.npy", shape, np.float16) as mean,
        new_array(out / f"{part}_variance.npy", shape, np.uint8) as variance,
        new_array(out / f"{part}_entropy.npy", shape, np.uint8) as entropy,
        new_array(out / f"{part}_mutual_information.npy", shape, np.uint8) as information,
    ):
        for rows, batch in device_batches(model, images, stacks, device, name, tiles):
            summary = sample_views(model, batch, passes, size, tta)
            mean[rows] = summary.mean.cpu().numpy()
            variance[rows] = as_levels(summary.variance, MAXIMA["variance"])
            entropy[rows] = as_levels(summary.entropy, MAXIMA["entropy"])
            information[rows] = as_levels(summary.mutual_information, MAXIMA["mutual_information"])
            presence[rows, 0] = summary.presence.cpu().numpy()
            presence[rows, 1] = summary.presence_std.cpu().numpy()
    columns = {"id": ids, "presence": presence[:, 0], "presence_std": presence[:, 1]}
    write_csv(out / f"{part}_tiles.csv", pd.DataFrame(columns))


def as_levels(values: torch.Tensor, maximum: float) -> np.ndarray:
    """Quantise [0, maximum] to uint8, rounding."""
    return (values / maximum * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

"""Monte Carlo dropout (Gal and Ghahramani 2016, arXiv:1506.02142): mean and uncertainty maps.

Only the named dropout sites are random; batch norm and all else stay in evaluation mode.
Every site lies in the decoder, so the encoder runs once and T decoder passes run as a batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from salt.dataset import open_stacks
from salt.errors import ModelError
from salt.files import new_array, read_csv, write_csv
from salt.maps import MAXIMA
from salt.models.decoder import DropoutSite
from salt.models.predict import BATCH_SIZE, device_batches, mirrored, p_presence, probability_maps
from salt.models.registry import load_model
from salt.models.segmenter import Network


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
    return torch.special.entr(probability) + torch.special.entr(1 - probability)


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
    model: Network, images: torch.Tensor, passes: int, size: int, mirror: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run T passes on padded images [B, C, P, P]: probability [T, B, size, size], presence [T, B].

    One pass is the plain deterministic one. More repeat the decoder alone, on features
    repeated along the batch. With `mirror` the network sees the mirror images and its answer
    is mirrored back.
    """
    features = model.encode(images.flip(-1) if mirror else images)
    if passes == 1:
        output = model.decode(features)
    else:
        with dropout_switched_on(model):
            output = model.decode([feature.repeat(passes, 1, 1, 1) for feature in features])
    if mirror:
        output = mirrored(output)
    shape = (passes, len(images))
    return (
        probability_maps(output, size).unflatten(0, shape),
        p_presence(output).unflatten(0, shape),
    )


def sample_views(
    model: Network, images: torch.Tensor, passes: int, size: int, flip: bool
) -> Moments:
    """Pool `passes` of the tile and, with `flip`, as many of its mirror image."""
    views = (False, True) if flip else (False,)
    samples = [sample_passes(model, images, passes, size, mirror) for mirror in views]
    probability, presence = (torch.cat(parts) for parts in zip(*samples, strict=True))
    return moments(probability, presence)


def measure_fold(
    train: Path,
    ingest: Path,
    index: Path,
    *,
    fold: int,
    passes: int,
    flip: bool,
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
    held_out = read_csv(train / "oof_tiles.csv")["id"]
    parts = {"oof": store.rows_of(held_out), "test": store.unlabelled["row"].to_numpy()}
    for part, rows in parts.items():
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"),
        ):
            _measure(
                model,
                np.asarray(store.images),
                stacks[rows],
                list(store.table["id"].iloc[rows]),
                out,
                part,
                passes=passes,
                flip=flip,
                name=f"uncertainty@{fold} {part}",
            )


def _measure(
    model: Network,
    images: np.ndarray,
    stacks: np.ndarray,
    ids: list[str],
    out: Path,
    part: str,
    *,
    passes: int,
    flip: bool,
    name: str,
) -> None:
    size = images.shape[-1]
    shape = (len(stacks), size, size)
    presence = np.empty((len(stacks), 2), np.float32)
    device = next(model.parameters()).device
    tiles = max(BATCH_SIZE // passes, 1)  # at a time: the decoder sees each as often as it passes
    with (
        new_array(out / f"{part}_mean.npy", shape, np.float16) as mean,
        new_array(out / f"{part}_variance.npy", shape, np.uint8) as variance,
        new_array(out / f"{part}_entropy.npy", shape, np.uint8) as entropy,
        new_array(out / f"{part}_mutual_information.npy", shape, np.uint8) as information,
    ):
        for rows, batch in device_batches(model, images, stacks, device, name, tiles):
            summary = sample_views(model, batch, passes, size, flip)
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

"""Run a segmentation network over many tiles: probabilities at the tiles' own size."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from salt.dataset import TileImages, open_images, ordered_batches
from salt.models.precision import autocast
from salt.models.segmenter import ModelConfig, Network, Segmentation
from salt.padding import crop
from salt.store import TileStore

BATCH_SIZE = 64


def images_as_trained(config: ModelConfig, store: TileStore, index: Path) -> TileImages:
    """Return a store's images as the network of this config saw them in training."""
    return open_images(store, index, config.padding, config.input_size, config.depth_input)


def predict(
    model: Network,
    images: TileImages,
    stacks: np.ndarray,
    *,
    flip: bool = False,
    along_section: bool = False,
    precision: str = "fp32",
    name: str = "predict",
) -> tuple[np.ndarray, np.ndarray]:
    """Return salt probability float32 [n, S, S] and presence probability float32 [n].

    Args:
        model: in evaluation mode.
        images: uint8 [m, S, S], or tiles with real margins if the model was trained with them.
        stacks: int64 [n, C] rows of them, one row per tile predicted.
        flip: average with the mirrored tile's prediction, mirrored back.
        along_section: whether the channels of a stack lie side by side.
        precision: `bf16`, `fp16` or `fp32`.
        name: of the progress bar; empty for none.
    """
    size = images.shape[-1]
    beside = stacks.shape[1] if along_section else 0
    probability = np.empty((len(stacks), size, size), np.float32)
    presence = np.empty(len(stacks), np.float32)
    device = next(model.parameters()).device
    with (
        torch.inference_mode(),
        autocast(device, precision),
    ):
        for rows, batch in device_batches(model, images, stacks, device, name):
            outputs = [model(batch)]
            if flip:
                outputs.append(mirrored(model(mirrored_images(batch, beside))))
            maps = [probability_maps(output, size) for output in outputs]
            probability[rows] = torch.stack(maps).mean(0).cpu().numpy()
            presence[rows] = torch.stack([p_presence(output) for output in outputs]).mean(0).cpu()
    return probability, presence


def device_batches(
    model: Network,
    images: TileImages,
    stacks: np.ndarray,
    device: torch.device,
    name: str,
    batch_size: int = BATCH_SIZE,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield (rows, padded batch on the device in channels-last order), with a progress bar."""
    config = model.config
    batches = ordered_batches(images, stacks, batch_size, config.input_size, config.padding)
    with tqdm(
        total=len(stacks), desc=name, unit="tile", mininterval=1.0, disable=not name
    ) as progress:
        for index, batch in enumerate(batches):
            start = index * batch_size
            yield (
                slice(start, start + len(batch)),
                batch.to(device).contiguous(memory_format=torch.channels_last),
            )
            progress.update(len(batch))


def mirrored_images(images: torch.Tensor, beside: int = 0) -> torch.Tensor:
    """Mirror images [B, C, P, P], the first `beside` channels of which lie side by side.

    These change places too, or what is shown as the left neighbour would lie on the right.
    """
    shown = images.flip(-1)
    if beside:
        shown[:, :beside] = shown[:, :beside].flip(1)
    return shown


def mirrored(output: Segmentation) -> Segmentation:
    """Mirror a padded tile's output; to be done before cropping, for the margins are unequal."""
    return output._replace(mask_logits=output.mask_logits.flip(-1))


def probability_maps(output: Segmentation, size: int) -> torch.Tensor:
    """Return float32 salt probabilities [B, size, size], padding cut off."""
    return torch.sigmoid(crop(output.mask_logits, size).float())[:, 0]


def p_presence(output: Segmentation) -> torch.Tensor:
    """Return float32 presence probabilities [B], NaN without a presence head."""
    if output.presence_logits is None:
        return output.mask_logits.new_full((len(output.mask_logits),), torch.nan).float()
    return torch.sigmoid(output.presence_logits.float())[:, 0]

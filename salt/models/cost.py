"""What a network costs: parameters, and time per tile on this machine."""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch
import torch.nn.functional as F

from salt.models.segmenter import Network

WARM_UP, REPEATS = 1, 5


class Cost(NamedTuple):
    """Milliseconds per tile, the median of `REPEATS` batches.

    Attributes:
        training: forward, backward and one AdamW step.
        inference: forward in evaluation mode.
    """

    training: float
    inference: float


def parameter_count(network: Network) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def measure_cost(network: Network, batch_size: int) -> Cost:
    """Time batches of random tiles in float32, where the network lies."""
    size, device = network.config.input_size, next(network.parameters()).device
    images = torch.randn(batch_size, network.config.image_channels, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    masks = (images[:, :1] > 0).float()
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def train() -> None:
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(network(images).mask_logits, masks).backward()
        optimiser.step()

    def infer() -> None:
        with torch.inference_mode():
            network(images)

    network.train()
    training = _milliseconds(train, device) / batch_size
    network.eval()
    return Cost(training, _milliseconds(infer, device) / batch_size)


def _milliseconds(run: Callable[[], None], device: torch.device) -> float:
    times = []
    for _ in range(WARM_UP + REPEATS):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return 1000 * median(times[WARM_UP:])

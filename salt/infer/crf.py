"""Let pixels of like grey pull each other's salt probability along: a convolutional CRF.

Mean-field inference in a conditional random field whose pairwise terms reach no further than a
small window, so that messages are sums over shifted images (Teichmann and Cipolla 2018,
arXiv:1805.04777), with the two Gaussian kernels of Krähenbühl and Koltun (2011).
"""

import itertools
from collections.abc import Iterator

import numpy as np
from scipy.special import expit, logit

REACH = 3  # pixels to either side: a window of 7 x 7
SPREAD = 2.0  # pixels, standard deviation of both kernels in space
GREY_SPREAD = 20.0  # grey levels, standard deviation of the appearance kernel
APPEARANCE, SMOOTHNESS = 2.0, 1.0  # logits that unanimous neighbours add
CERTAIN = 1e-4  # logits are those of probabilities from this to 1 - this
_TILES_AT_ONCE = 16  # their kernels take 32 MB


def smooth_by_image(probability: np.ndarray, images: np.ndarray, iterations: int) -> np.ndarray:
    """Return probabilities float32 [n, H, W] after mean-field steps against the images.

    With q the probabilities of the step before, a step sets logit q to the logit of the
    network's probability plus a weighted mean of 2 q - 1 over the window, for each kernel.

    Args:
        probability: [n, H, W] in [0, 1].
        images: uint8 grey [n, H, W].
        iterations: 0 returns the probabilities.
    """
    smoothed = np.asarray(probability, np.float32)
    if not iterations:
        return smoothed
    smoothed = smoothed.copy()
    for start in range(0, len(smoothed), _TILES_AT_ONCE):
        part = slice(start, start + _TILES_AT_ONCE)
        smoothed[part] = _mean_field(smoothed[part], images[part], iterations)
    return smoothed


def _mean_field(probability: np.ndarray, images: np.ndarray, iterations: int) -> np.ndarray:
    kernels = list(_kernels(images))
    unary = logit(probability.clip(CERTAIN, 1 - CERTAIN))
    for _ in range(iterations):
        opinion = 2 * probability - 1
        message = np.zeros_like(unary)
        for here, there, weight in kernels:
            message[here] += weight * opinion[there]
        probability = expit(unary + message)
    return probability


def _kernels(images: np.ndarray) -> Iterator[tuple[tuple, tuple, np.ndarray]]:
    """Yield for each offset in the window the pixels, their neighbours and the weights.

    At every pixel the weights sum to APPEARANCE + SMOOTHNESS, at the border too.
    """
    grey = np.asarray(images, np.float32)
    steps = range(-REACH, REACH + 1)
    offsets = [offset for offset in itertools.product(steps, steps) if any(offset)]
    near, alike = [], []
    sums = np.zeros((2, *grey.shape), np.float32)
    for down, right in offsets:
        here, there = _overlap(down, right)
        closeness = np.float32(np.exp(-(down**2 + right**2) / (2 * SPREAD**2)))
        near.append(closeness)
        difference = (grey[here] - grey[there]) / GREY_SPREAD
        alike.append(closeness * np.exp(-(difference**2) / 2))
        sums[0][here] += closeness
        sums[1][here] += alike[-1]
    sums[1] = np.maximum(sums[1], np.finfo(np.float32).tiny)  # a pixel like none of its window
    for (down, right), closeness, likeness in zip(offsets, near, alike, strict=True):
        here, there = _overlap(down, right)
        weight = APPEARANCE * likeness / sums[1][here] + SMOOTHNESS * closeness / sums[0][here]
        yield here, there, weight


def _overlap(down: int, right: int) -> tuple[tuple, tuple]:
    """Return slices of [n, H, W]: pixels that have a neighbour at the offset, and it."""
    here, there = zip(*(_along(step) for step in (down, right)), strict=True)
    return (slice(None), *here), (slice(None), *there)


def _along(step: int) -> tuple[slice, slice]:
    if step >= 0:
        return slice(0, -step or None), slice(step, None)
    return slice(-step, None), slice(0, step)

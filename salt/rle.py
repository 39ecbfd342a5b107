"""Run lengths as the competition writes masks: "start length start length ...".

Pixels are numbered from 1, down the columns first: in a 101x101 mask pixel 1 is row 0,
column 0, pixel 2 is row 1, column 0, and pixel 102 is row 0, column 1. Runs are sorted,
do not overlap, and may go on from the bottom of one column to the top of the next. A mask
without salt is the empty text.
"""

import numpy as np

from salt.errors import InputError


def encode(mask: np.ndarray) -> str:
    """Return the run lengths of the non-zero pixels of a mask [H, W]."""
    pixels = np.zeros(mask.size + 2, dtype=bool)  # a clear pixel at either end closes every run
    pixels[1:-1] = mask.ravel(order="F") != 0
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    edges[1::2] -= edges[::2]  # ends become lengths
    return " ".join(map(str, edges.tolist()))


def decode(text: str, height: int, width: int) -> np.ndarray:
    """Return the mask uint8 [height, width] in {0, 1} that run lengths describe.

    Raises:
        InputError: the text is not sorted, separate runs of whole numbers inside the mask;
            the message names the first run that is wrong, counted from 1.
    """
    runs = _parse(text)  # [runs, 2]
    starts, lengths = runs[:, 0], runs[:, 1]
    ends = _checked_ends(starts, lengths, height * width)
    steps = np.zeros(height * width + 1, dtype=np.int8)
    steps[starts - 1] += 1
    steps[ends] -= 1
    return np.ascontiguousarray(
        np.cumsum(steps[:-1], dtype=np.int8).view(np.uint8).reshape(width, height).T
    )


def _parse(text: str) -> np.ndarray:
    """Return the runs as int64 [runs, 2]; numbers too large for that come out as its maximum."""
    words = text.split()
    joined = "".join(words)
    if joined and not (joined.isascii() and joined.isdigit()):
        index = next(i for i, word in enumerate(words) if not (word.isascii() and word.isdigit()))
        raise InputError(
            f"run {index // 2 + 1} has {words[index][:20]!r}; "
            f"expected whole numbers from 1. {_REMEDY}"
        )
    if len(words) % 2:
        raise InputError(
            f"run {len(words) // 2 + 1} has a start ({words[-1][:20]}) and no length, as "
            f"{len(words)} is an odd count of numbers; expected pairs. {_REMEDY}"
        )
    return np.fromstring(" ".join(words), dtype=np.int64, sep=" ").reshape(-1, 2)


def _checked_ends(starts: np.ndarray, lengths: np.ndarray, pixels: int) -> np.ndarray:
    """Return the last pixel of each run, or refuse the first run that is impossible."""
    outside = (starts < 1) | (lengths < 1) | (starts > pixels) | (lengths > pixels)
    ends = np.where(outside, 0, starts) + np.where(outside, 0, lengths) - 1
    outside |= ends > pixels
    misplaced = np.zeros_like(outside)
    misplaced[1:] = starts[1:] <= ends[:-1]
    wrong = np.flatnonzero(outside | misplaced)
    if not len(wrong):
        return ends
    first = wrong[0]
    run = f"run {first + 1} ({starts[first]} {lengths[first]})"
    if outside[first]:
        raise InputError(
            f"{run} is not inside the mask; expected a start and a length from 1 that stay "
            f"within pixels 1 to {pixels}. {_REMEDY}"
        )
    previous = f"run {first} ({starts[first - 1]} {lengths[first - 1]})"
    fault = "overlaps" if starts[first] >= starts[first - 1] else "comes before"
    raise InputError(f"{run} {fault} {previous}; expected sorted, separate runs. {_REMEDY}")


_REMEDY = "Write the mask again, column by column, as sorted pairs of start and length."

"""Which tile continues which across a seam: candidates with a confidence.

A tile's right edge is continued half a pixel outwards, its neighbour's left edge likewise; on
the seam both must tell the same amplitudes. Tiles were gained one by one, so each continued
edge is standardised before the two are correlated.
"""

import numpy as np
import pandas as pd

FLAT = 3.0  # grey levels: edges that vary less match everything, so they match nothing
BLOCK = 2048  # rows of the similarity matrix in memory at a time


def match_edges(images: np.ndarray) -> pd.DataFrame:
    """Return candidate neighbours: first, second, axis, similarity, margin; best first.

    `second` lies right of `first` (axis 1) or below it (axis 0); both are each other's best.
    `similarity` is the correlation on the seam, `margin` how much closer (in 1 - similarity)
    it is than the nearer of the two tiles' second bests, in (0, 1].

    Args:
        images: uint8 [n, H, W].
    """
    tables = [_match_axis(images, axis) for axis in (0, 1)]
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(
        ["margin", "first", "axis"], ascending=[False, True, True], ignore_index=True
    )


def seam_edges(images: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each tile's (outgoing, incoming) standardised seam amplitudes, float32 [n, L].

    Outgoing is the lower (axis 0) or right (axis 1) edge; flat edges are all zero.
    """
    along = np.moveaxis(images, 1 + axis, 1)  # [n, depth across the seam, L]
    near_end, end = along[:, -2].astype(np.float32), along[:, -1].astype(np.float32)
    start, near_start = along[:, 0].astype(np.float32), along[:, 1].astype(np.float32)
    return _standardised(1.5 * end - 0.5 * near_end), _standardised(1.5 * start - 0.5 * near_start)


def _standardised(edges: np.ndarray) -> np.ndarray:
    centred = edges - edges.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    unit = centred / np.maximum(deviation, FLAT) / np.sqrt(edges.shape[1], dtype=np.float32)
    return np.where(deviation < FLAT, 0, unit).astype(np.float32)


def _match_axis(images: np.ndarray, axis: int) -> pd.DataFrame:
    outgoing, incoming = seam_edges(images, axis)
    forward = _two_best(outgoing, incoming)
    backward = _two_best(incoming, outgoing)
    first = np.arange(len(images))
    second = forward.index
    mutual = (backward.index[second] == first) & (forward.best > 0)
    first, second = first[mutual], second[mutual]
    similarity = forward.best[mutual]
    runner_up = np.maximum(forward.runner_up[first], backward.runner_up[second])
    margin = 1 - (1 - similarity) / np.maximum(1 - runner_up, 1e-6)
    columns = {"first": first, "second": second, "axis": axis, "similarity": similarity}
    return pd.DataFrame(columns | {"margin": margin})


class _two_best:  # noqa: N801 - a record of three arrays, built in one pass
    """Each row's best partner, its similarity and the second best's; never itself."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray) -> None:
        count = len(rows)
        self.index = np.zeros(count, np.int64)
        self.best = np.full(count, -1, np.float32)
        self.runner_up = np.full(count, -1, np.float32)
        for start in range(0, count, BLOCK):
            block = np.arange(start, min(start + BLOCK, count))
            similarity = rows[block] @ columns.T
            similarity[np.arange(len(block)), block] = -1
            self.index[block] = similarity.argmax(axis=1)
            at_best = (np.arange(len(block)), self.index[block])
            self.best[block] = similarity[at_best]
            similarity[at_best] = -1
            self.runner_up[block] = similarity.max(axis=1, initial=-1)

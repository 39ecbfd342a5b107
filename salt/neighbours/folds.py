"""Cross-validation folds: of whole sections, or of single tiles by coverage or by depth."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from salt.errors import StoreError

DEPTH_BINS = 10  # as many as there are classes of coverage


def groups_of(mosaic: np.ndarray, volume: np.ndarray | None) -> np.ndarray:
    """Number what must stay together, int64 [n]: tiles joined by a mosaic or by a volume.

    Neighbouring inlines of one volume are near copies of each other, so a volume is as
    indivisible as a section.
    """
    labels = [mosaic] if volume is None else [mosaic, volume]
    count, size = len(mosaic), len(mosaic)
    rows, columns = [], []
    for label in labels:
        numbers = np.unique(label, return_inverse=True)[1] + size
        rows.append(np.arange(count))
        columns.append(numbers)
        size = int(numbers.max(initial=size - 1)) + 1
    pairs = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_array((np.ones(len(pairs[0])), pairs), shape=(size, size))
    return connected_components(graph, directed=False)[1][:count].astype(np.int64)


def section_folds(
    groups: np.ndarray, classes: np.ndarray, folds: Sequence[int], generator: np.random.Generator
) -> np.ndarray:
    """Deal whole groups to folds, int64 [n], so that classes and sizes come out even.

    Largest group first (equal ones in random order), each to the fold where it raises the
    squared excess over an even share of every class, and of all tiles, least.

    Raises:
        StoreError: fewer groups than folds.
    """
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < len(folds):
        raise StoreError(
            f"{len(folds)} folds of {len(names)} groups of tiles; expected at least one group a "
            "fold. Lower the number of index.folds."
        )
    kinds, kind = np.unique(classes, return_inverse=True)
    counts = np.zeros((len(names), len(kinds) + 1))
    np.add.at(counts, (group, kind), 1)
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    share = np.maximum(counts.sum(axis=0) / len(folds), 1)
    order = np.lexsort((generator.random(len(names)), -counts[:, -1]))
    filled = np.zeros((len(folds), len(kinds) + 1))
    fold_of = np.empty(len(names), np.int64)
    for name in order:
        excess = (((filled + counts[name]) / share) ** 2 - (filled / share) ** 2).sum(axis=1)
        chosen = int(excess.argmin())
        fold_of[name] = chosen
        filled[chosen] += counts[name]
    return np.asarray(folds, np.int64)[fold_of[group]]


def random_folds(
    classes: np.ndarray, folds: Sequence[int], generator: np.random.Generator
) -> np.ndarray:
    """Deal single tiles to folds in turn, class by class, int64 [n]: sections are split.

    Raises:
        StoreError: fewer tiles than folds.
    """
    if len(classes) < len(folds):
        raise StoreError(
            f"{len(folds)} folds of {len(classes)} labelled tiles; expected at least one tile a "
            "fold. Lower the number of index.folds."
        )
    order = np.lexsort((generator.random(len(classes)), classes))
    dealt = np.empty(len(classes), np.int64)
    dealt[order] = np.arange(len(classes)) % len(folds)
    return np.asarray(folds, np.int64)[dealt]


def depth_folds(
    depth: np.ndarray, folds: Sequence[int], generator: np.random.Generator
) -> np.ndarray:
    """Deal single tiles to folds in turn, depth by depth, int64 [n]: sections are split.

    The strata hold about equally many tiles each, between quantiles of depth; tiles of equal
    depth lie in one, and tiles without depth (NaN) in one of their own.

    Raises:
        StoreError: fewer tiles than folds.
    """
    known = depth[~np.isnan(depth)]
    inner = np.linspace(0, 1, DEPTH_BINS + 1)[1:-1]
    limits = np.quantile(known, inner) if len(known) else np.empty(0)
    strata = np.where(np.isnan(depth), DEPTH_BINS, np.searchsorted(limits, depth))
    return random_folds(strata, folds, generator)


def class_imbalance(classes: np.ndarray, fold: np.ndarray) -> float:
    """Return how far the fold least like all tiles is from them, in [0, 1]; 0: all are alike.

    Half the summed difference of the shares of classes (total variation distance): the share
    of the fold's tiles that would have to change class.
    """
    kinds, kind = np.unique(classes, return_inverse=True)
    everywhere = np.bincount(kind) / max(len(kind), 1)
    distances = [
        np.abs(np.bincount(kind[fold == name], minlength=len(kinds)) / count - everywhere).sum() / 2
        for name, count in zip(*np.unique(fold, return_counts=True), strict=True)
    ]
    return float(max(distances, default=0.0))


def separated_pairs(successors: Iterable[np.ndarray], fold: np.ndarray) -> int:
    """Count neighbours that lie in different folds: what leaks from one into another.

    Args:
        successors: each int64 [n], the row of every tile's neighbour on one side, -1 where none.
        fold: int64 [m], of the labelled tiles, which are the first m; others do not count.
    """
    count = 0
    for successor in successors:
        second = successor[: len(fold)]
        first = np.flatnonzero((second >= 0) & (second < len(fold)))
        count += int((fold[first] != fold[second[first]]).sum())
    return count

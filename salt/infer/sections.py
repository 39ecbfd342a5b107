"""Section post-processing where it belongs: on the ensemble's maps, before any rule is chosen.

One function does the work (`salt.infer.postprocess.process_sections`) for two kinds of maps.

Labelled tiles, which are scored, are processed fold by fold, and what informs a tile of fold k
is prediction alone: of the labelled tiles of fold k their out-of-fold maps, of test tiles the
maps of fold k's own network. Neither network ever saw a tile of fold k. The labels of
neighbours are not used, and neither is the mean over all folds on test tiles, whose other
members were trained on the very tile to be scored. Labelled tiles of other folds (there are
none in one section unless index.scheme is random) count as absent, for the same reason.

Test tiles may use all that is known: of labelled neighbours the true mask, of test neighbours
the mean over the folds. What that adds is measured apart (`continue_truth`): a labelled tile
continues the true mask above it. Vertical masks are continued downwards only, so a tile's own
label never reaches its map; labels of its fold do, which is why it is measured, not applied.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from salt.infer.postprocess import MapReader, Steps, process_sections, runs_down
from salt.infer.rule import DEFAULT_RULE, apply_rule
from salt.metrics import paired_gain, tile_scores
from salt.neighbours.sections import Layout, neighbours_of
from salt.seeding import generator
from salt.store import TileStore

RESAMPLES = 2000
TRIAL_FEATHER = 8  # pixels; what is measured where the setting is 0
EXTEND = Steps(extend_vertical=True)


class MapSource(Protocol):
    """Maps of the t test tiles, an array or made when asked for."""

    def __getitem__(self, tile: int, /) -> Any:
        """Return one tile's map [H, W]."""


TestMaps = Mapping[int, MapSource]  # of each fold, its own network's


def process_out_of_fold(
    maps: np.ndarray, fold: np.ndarray, test_maps: TestMaps, layout: Layout, steps: Steps
) -> np.ndarray:
    """Return the out-of-fold maps float16 [m, H, W] of the labelled tiles after `steps`.

    `maps` are those before, `fold` int [m] names the network each comes from, and `layout`
    holds all m + t tiles, labelled ones first.
    """
    processed = maps.copy()
    if not steps:
        return processed
    is_labelled = np.arange(len(layout.mosaic)) < len(maps)
    for name, test in test_maps.items():
        own = is_labelled.copy()
        own[: len(maps)] = fold == name
        read, known = _reader(maps, test), np.zeros_like(own)
        for tiles, after in process_sections(layout, steps, read, own | ~is_labelled, known, own):
            processed[tiles] = after
    return processed


def process_test(maps: np.ndarray, store: TileStore, layout: Layout, steps: Steps) -> None:
    """Change the maps [t, H, W] of test tiles in place, informed by the store's true masks."""
    if not steps:
        return
    known, is_test = _known(store), _is_test(store)
    read = _reader(store.masks, maps)
    for tiles, after in process_sections(layout, steps, read, is_test, known, is_test):
        maps[tiles - len(store.masks)] = after


def continue_truth(
    maps: np.ndarray, fold: np.ndarray, test_maps: TestMaps, store: TileStore, layout: Layout
) -> np.ndarray:
    """Return out-of-fold maps [m, H, W] that continue vertical masks as test tiles do.

    Above a tile lies a true mask, or the map of a test tile by the network of the tile's fold.
    """
    processed = maps.copy()
    below = neighbours_of(layout)["down"]
    known, is_test = _known(store), _is_test(store)
    for name, test in test_maps.items():
        own = np.append(fold == name, np.zeros(is_test.sum() + 1, bool))  # the last is nobody
        read = _reader(store.masks, test)
        for tiles, after in process_sections(layout, EXTEND, read, is_test, known, own[below]):
            for tile, above in zip(tiles, after, strict=True):
                if runs_down(above):
                    processed[below[tile]] = above[-1]
    return processed


def measure_steps(
    maps: np.ndarray,
    presence: np.ndarray,
    fold: np.ndarray,
    test_maps: TestMaps,
    store: TileStore,
    layout: Layout,
    steps: Steps,
    seed: int,
) -> dict[str, Any]:
    """Return what each step alone does to the labelled tiles' scores, be it applied or not.

    Scores are those at threshold 0.5, where nothing is chosen; `maps` are those before any step.
    """
    feather = Steps(seam_feather=steps.seam_feather or TRIAL_FEATHER)
    trials = {
        "extend_vertical": process_out_of_fold(maps, fold, test_maps, layout, EXTEND),
        "extend_vertical_from_truth": continue_truth(maps, fold, test_maps, store, layout),
        "seam_feather": process_out_of_fold(maps, fold, test_maps, layout, feather),
    }
    before = apply_rule(maps, presence, DEFAULT_RULE)
    scores = tile_scores(before, store.masks, store.ignore)
    effects: dict[str, Any] = {}
    for name, processed in trials.items():
        after = apply_rule(processed, presence, DEFAULT_RULE)
        own_scores = tile_scores(after, store.masks, store.ignore)
        gain = paired_gain(own_scores, scores, RESAMPLES, generator(seed, "ensemble", name))
        effects[name] = {
            "masks_changed": int((after != before).any(axis=(1, 2)).sum()),
            "gain": round(gain.mean, 6),
            "interval": [round(gain.low, 6), round(gain.high, 6)],
        }
    for name in trials:
        is_on = steps.seam_feather > 0 if name == "seam_feather" else steps.extend_vertical
        effects[name]["applied"] = is_on
    effects["seam_feather"]["pixels"] = feather.seam_feather
    return effects


def _reader(labelled: np.ndarray, test: MapSource) -> MapReader:
    def read(tiles: np.ndarray) -> np.ndarray:
        border = len(labelled)
        return np.stack([labelled[t] if t < border else test[t - border] for t in tiles])

    return read


def _is_test(store: TileStore) -> np.ndarray:
    return np.arange(len(store.table)) >= len(store.masks)


def _known(store: TileStore) -> np.ndarray:
    """Tell which tiles have a wholly known mask: labelled ones without ignored pixels."""
    known = ~_is_test(store)
    known[: len(store.masks)] &= ~store.ignore.any(axis=(1, 2))
    return known

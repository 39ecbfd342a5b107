"""The pictures of one tile: what went in, what the steps made of it and what was decided."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from salt.metrics import tile_iou
from salt.report.painting import (
    fill,
    outline_prediction,
    outline_truth,
    paint_amplitude,
    paint_map,
    png,
)
from salt.report.palette import PREDICTION, PROBABILITY_MAP, TRUTH, UNCERTAINTY_MAP
from salt.report.run import Run
from salt.report.scores import mean_entropy
from salt.report.tile_maps import TileMaps


@dataclass(frozen=True)
class Panel:
    """One picture of one tile, with the text that stands for it where it cannot be seen."""

    caption: str
    alt: str
    picture: np.ndarray  # uint8 RGB [H, W, 3]

    @property
    def png(self) -> bytes:
        """The picture as PNG bytes."""
        return png(self.picture)


@dataclass(frozen=True)
class TileRow:
    """The panels of one tile (or section) under its id and a line of facts."""

    id: str
    facts: str
    panels: list[Panel]


@dataclass(frozen=True)
class Group:
    """Tiles shown for one reason."""

    title: str
    reason: str
    rows: list[TileRow]


def labelled_row(run: Run, tile: int) -> TileRow:
    """Paint a labelled tile: everything shown was predicted while its fold was held out."""
    labelled, at = run.labelled, np.array([tile])
    record = run.store.table.iloc[tile]
    panels = _panels(
        record["id"],
        image=run.store.images[tile],
        truth=run.store.masks[tile],
        ignore=run.store.ignore[tile],
        probability=labelled.averaged.read(at)[0],
        uncertainty=labelled.uncertainty.read(at)[0],
        refined=labelled.refined.read(at)[0],
        decision=labelled.decisions(at)[0],
    )
    facts = [f"score {labelled.scores[tile]:.1f}", f"fold {labelled.fold[tile]}", *_depth(record)]
    return TileRow(record["id"], " · ".join(facts), panels)


def unlabelled_row(run: Run, tile: int) -> TileRow:
    """Paint a test tile from the mean of the folds, with its truth where that is known."""
    test, at = run.unlabelled, np.array([tile])
    row = len(run.store.masks) + tile
    record = run.store.table.iloc[row]
    truth = test.truth(at)
    panels = _panels(
        record["id"],
        image=run.store.images[row],
        truth=None if truth is None else truth[0],
        ignore=None,
        probability=_mean_map(test.averaged, at),
        uncertainty=test.uncertainty.read(at)[0],
        refined=_mean_map(test.refined, at),
        decision=test.decisions(at)[0],
    )
    return TileRow(record["id"], " · ".join(["test", *_depth(record)]), panels)


def _mean_map(folds: tuple[TileMaps, ...], at: np.ndarray) -> np.ndarray:
    return np.stack([maps.read(at)[0] for maps in folds]).astype(np.float32).mean(axis=0)


def _depth(record: pd.Series) -> list[str]:
    return [] if pd.isna(record["depth"]) else [f"depth {record['depth']:g}"]


def _panels(
    name: str,
    *,
    image: np.ndarray,
    truth: np.ndarray | None,
    ignore: np.ndarray | None,
    probability: np.ndarray,
    uncertainty: np.ndarray,
    refined: np.ndarray,
    decision: np.ndarray,
) -> list[Panel]:
    amplitude = paint_amplitude(image)
    panels = [Panel("Image", f"Seismic amplitude of tile {name}.", amplitude)]
    if truth is not None:
        painted = outline_truth(fill(amplitude, truth, TRUTH), truth)
        alt = f"Truth of tile {name}: {_extent(truth)}."
        panels.append(Panel("Truth", alt, painted))
    entropy = mean_entropy(uncertainty[None])[0]
    for caption, values in (("Probability", probability), ("Refined", refined)):
        alt = f"{caption} map of tile {name}: {_extent(values >= 0.5)} at one half or more."
        panels.append(Panel(caption, alt, paint_map(values, 1.0, PROBABILITY_MAP)))
    alt = f"Uncertainty map of tile {name}: mean predictive entropy {entropy:.3f} of 0.693 nat."
    panels.insert(-1, Panel("Uncertainty", alt, paint_map(uncertainty, 255, UNCERTAINTY_MAP)))
    panels.append(_decision_panel(name, amplitude, truth, ignore, decision))
    return panels


def _decision_panel(
    name: str,
    amplitude: np.ndarray,
    truth: np.ndarray | None,
    ignore: np.ndarray | None,
    decision: np.ndarray,
) -> Panel:
    alt = f"Decision on tile {name}: {_extent(decision)}"
    tinted = fill(amplitude, decision, PREDICTION)
    if truth is None:
        return Panel("Decision", alt + ".", outline_prediction(tinted, decision))
    overlap = tile_iou(decision[None], truth[None], None if ignore is None else ignore[None])[0]
    both = outline_prediction(outline_truth(tinted, truth), decision)
    return Panel("Decision", f"{alt}, IoU with the truth {overlap:.2f}.", both)


def _extent(mask: np.ndarray) -> str:
    return f"salt on {100 * mask.mean():.0f} % of its area" if mask.any() else "no salt"

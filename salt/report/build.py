"""Build the report of a finished run: its numbers, the plots' data and the page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.files import replacing, write_csv, write_json, write_text
from salt.report import figures
from salt.report.certainty import (
    CHARTED,
    Certainty,
    measure_certainty,
    rank_tiles,
    reliability_points,
    risk_curves,
    summarise_certainty,
)
from salt.report.gallery import build_gallery, build_review, draw_strip
from salt.report.page import Chart, render_page
from salt.report.palette import THEMES, Theme
from salt.report.panels import TileRow
from salt.report.run import open_run
from salt.report.scores import (
    measure_labelled,
    measure_unlabelled,
    rounded,
    summarise,
    threshold_scores,
)
from salt.report.section_view import build_sections
from salt.seeding import generator


def build_report(
    data: Path,
    output: Path,
    *,
    source: str,
    folds: list[int],
    gallery_tiles: int,
    sections: int,
    bootstrap_samples: int,
    seed: int,
) -> dict[str, Any]:
    """Write metrics.json, review.csv, plots/*.csv, pictures/*.png, index.html; return the metrics.

    Args:
        data: folder of the stages' outputs.
        output: the report's own folder.
        source: where the tiles came from, `demo` or `tgs`.
        folds: fold names, all of which must be complete.
        gallery_tiles: tiles pictured.
        sections: largest sections pictured.
        bootstrap_samples: resamples behind each interval.
        seed: root seed of the intervals and of the tiles drawn at random.

    Raises:
        StoreError: an output is missing or incomplete, or does not belong to the tile store.
    """
    run = open_run(data, folds)
    labelled, unlabelled = measure_labelled(run), measure_unlabelled(run)
    metrics = summarise(
        run, labelled, unlabelled, source=source, samples=bootstrap_samples, seed=seed
    )
    certainty = measure_certainty(run)
    known = unlabelled["decided"].to_numpy() if "decided" in unlabelled else None
    metrics |= rounded(summarise_certainty(certainty, known, bootstrap_samples, seed))
    curve, ranked = threshold_scores(run), rank_tiles(run, certainty)
    gallery = build_gallery(
        run, labelled, unlabelled, gallery_tiles, generator(seed, "report", "gallery")
    )
    stitched = build_sections(run, sections)
    charts = _draw_charts(metrics, labelled, run.history, curve)
    certainty_charts = _draw_certainty(certainty)
    plots = {
        "history": run.history,
        "steps": _steps_table(metrics["steps"]),
        "threshold": curve,
        "reliability": reliability_points(certainty.pixels),
        "risk_coverage": risk_curves(certainty),
    }
    for name, table in plots.items():
        write_csv(output / f"plots/{name}.csv", table)
    write_csv(output / "review.csv", ranked)
    pictures = _named_pictures([*charts, *certainty_charts], stitched, draw_strip(run, labelled))
    for name, png in pictures.items():
        with replacing(output / "pictures" / f"{name}.png") as part:
            part.write_bytes(png)
    review = build_review(run, ranked)
    page = render_page(metrics, charts, gallery, stitched, certainty_charts, review)
    write_text(output / "index.html", page)
    write_json(output / "metrics.json", metrics)
    return metrics


def _named_pictures(
    charts: list[Chart], stitched: Sequence[TileRow], strip: bytes | None
) -> dict[str, bytes]:
    """Return the PNGs that are written beside the page, by file name."""
    pictures = {title.lower().replace(" ", "-"): themes["light"] for title, _, themes in charts}
    if strip is not None:
        pictures["tiles"] = strip
    for number, section in enumerate(stitched, start=1):
        image, uncertainty = section.panels
        pictures[f"section_{number}"] = image.png
        pictures[f"section_{number}_uncertainty"] = uncertainty.png
    return pictures


def _draw_charts(
    metrics: dict[str, Any], labelled: pd.DataFrame, history: pd.DataFrame, curve: pd.DataFrame
) -> list[Chart]:
    scores, has_salt = labelled["decided"].to_numpy(), labelled["has_salt"].to_numpy(bool)
    chosen = metrics["threshold"]["threshold"]
    return [
        (
            "Score per step",
            "What each step adds to the mean score, with the 95 % interval of the paired gain; "
            "grey where it includes zero.",
            _in_both_themes(lambda theme: figures.waterfall(metrics["steps"], theme)),
        ),
        (
            "Scores of the tiles",
            f"{_share(scores == 1)} of tiles are scored 1, {_share(scores == 0)} are scored 0.",
            _in_both_themes(lambda theme: figures.score_histogram(scores, has_salt, theme)),
        ),
        (
            "Threshold",
            "Score of all labelled tiles by probability threshold, and the one chosen.",
            _in_both_themes(lambda theme: figures.threshold_curve(curve, chosen, theme)),
        ),
        (
            "Training",
            "Training loss and validation score by epoch.",
            _in_both_themes(lambda theme: figures.training_curves(history, theme)),
        ),
    ]


def _draw_certainty(certainty: Certainty) -> list[Chart]:
    diagrams = {"Pixels": reliability_points(certainty.pixels)}
    if certainty.presence is not None:
        diagrams["Presence of salt in a tile"] = reliability_points(certainty.presence)
    curves = risk_curves(certainty)
    return [
        (
            "Reliability",
            "How often salt is there by the probability forecast, before and after the "
            "temperature of the other folds. On the diagonal the map means what it says; a dot "
            "is as large as its share of the forecasts.",
            _in_both_themes(lambda theme: figures.reliability_diagrams(diagrams, theme)),
        ),
        (
            "Risk and coverage",
            "Mean loss of the tiles kept when the least sure are set aside, by several "
            "measures of sureness. Lower is better; the oracle knows the truth.",
            _in_both_themes(lambda theme: figures.risk_curves(curves, CHARTED, theme)),
        ),
    ]


def _in_both_themes(draw: Callable[[Theme], bytes]) -> dict[str, bytes]:
    return {theme.name: draw(theme) for theme in THEMES}


def _share(chosen: np.ndarray) -> str:
    return f"{100 * chosen.mean():.0f} %"


def _steps_table(steps: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per step with intervals as columns, as `dvc plots` reads them."""
    rows = []
    for step in steps:
        low, high = step["interval"]
        gain_low, gain_high = step.get("gain_interval", (None, None))
        rows.append(
            {
                "step": step["step"],
                "score": step["score"],
                "low": low,
                "high": high,
                "gain": step.get("gain"),
                "gain_low": gain_low,
                "gain_high": gain_high,
            }
        )
    return pd.DataFrame(rows)

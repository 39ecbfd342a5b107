"""The report's charts as PNG bytes, the same bytes for the same numbers.

Backgrounds are transparent and text takes a theme's ink, so that each chart exists once
for a light and once for a dark page.
"""

import io
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from salt.report.palette import FOLD_COLOURS, PREDICTION, TRUTH, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_SIZE = (5.6, 3.3)  # inches; at 100 % about 540 CSS pixels wide
DPI = 180


def training_curves(history: pd.DataFrame, theme: Theme) -> bytes:
    """Draw training loss and validation score by epoch, one colour per fold.

    `history` has the columns fold, epoch, train_loss and validation_score; the score is NaN
    where no tiles were set aside to choose the epoch.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (score, loss) = _figure(theme, columns=2)
    for colour, (fold, epochs) in zip(cycle(FOLD_COLOURS), history.groupby("fold"), strict=False):
        score.plot(epochs["epoch"], epochs["validation_score"], color=colour)
        loss.plot(epochs["epoch"], epochs["train_loss"], color=colour, label=f"fold {fold}")
    loss.set_title("Training loss")
    scored = history["validation_score"].notna().any()
    score.set_title("Validation score" if scored else "Validation score (no tiles set aside)")
    for axes in (score, loss):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    loss.legend(loc="upper right", frameon=False, labelcolor=theme.ink)
    return _png(figure)


def waterfall(steps: list[dict[str, Any]], theme: Theme) -> bytes:
    """Draw each step's gain as a bar from the score before to its own, first step on top.

    A line across the bar's end is the 95 % interval of the paired gain; the bar is orange
    where the step lost and grey where that interval includes zero. The first step has no bar:
    its dot is the score, on the interval of the mean.
    """
    figure, (axes,) = _figure(theme)
    first, *others = steps
    places = np.arange(len(steps))[::-1]
    axes.plot(first["interval"], [places[0]] * 2, color=theme.muted, linewidth=3, alpha=0.45)
    axes.plot(first["score"], places[0], "o", color=theme.muted, markersize=7)
    before = first["score"]
    for place, step in zip(places[1:], others, strict=True):
        low, high = step["gain_interval"]
        colour = theme.accent if low > 0 else PREDICTION if high < 0 else theme.muted
        axes.plot([before, before], [place, place + 1], color=theme.line, linewidth=1.2, zorder=1)
        axes.barh(place, step["score"] - before, 0.5, before, color=colour)
        axes.plot([before + low, before + high], [place, place], color=theme.ink, linewidth=1.4)
        before = step["score"]
    for place, step in zip(places, steps, strict=True):
        last = place == 0
        axes.annotate(
            f"{step['score']:.3f}", (step["score"], place + 0.25), (0, 3), color=theme.ink,
            textcoords="offset points", ha="center", fontsize=8.5,
            fontweight="bold" if last else "normal",
        )  # fmt: skip
    axes.set_yticks(places, [step["step"] for step in steps])
    axes.set_ylim(-0.6, len(steps) - 0.2)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean score over labelled tiles")
    return _png(figure)


def score_histogram(scores: np.ndarray, has_salt: np.ndarray, theme: Theme) -> bytes:
    """Draw how many tiles reach each score 0.0, 0.1 ... 1.0, with and without salt stacked."""
    figure, (axes,) = _figure(theme)
    tenths = np.rint(np.asarray(scores) * 10).astype(np.int64)
    salt, empty = (np.bincount(tenths[part], minlength=11) for part in (has_salt, ~has_salt))
    places = np.arange(11) / 10
    axes.bar(places, salt, 0.08, color=TRUTH, label="tiles with salt")
    axes.bar(places, empty, 0.08, bottom=salt, color=theme.baseline, label="tiles without")
    axes.set_xticks(places[::2])
    axes.set_xlabel("score of the tile")
    axes.set_ylabel("tiles")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper center", frameon=False, labelcolor=theme.ink)
    return _png(figure)


def threshold_curve(curve: pd.DataFrame, chosen: float, theme: Theme) -> bytes:
    """Draw score against probability threshold (columns threshold, score) and the chosen one."""
    figure, (axes,) = _figure(theme)
    axes.plot(curve["threshold"], curve["score"], color=theme.accent, marker="o", markersize=3.5)
    axes.axvline(chosen, color=PREDICTION, linewidth=2)
    axes.annotate(
        f"chosen: {chosen:.2f}", (chosen, 0.04), (7, 0), color=theme.ink,
        xycoords=("data", "axes fraction"), textcoords="offset points",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability threshold")
    axes.set_ylabel("mean score")
    return _png(figure)


def reliability_diagrams(diagrams: dict[str, pd.DataFrame], theme: Theme) -> bytes:
    """Draw frequency against forecast side by side: as forecast, and at the fitted temperature.

    Each table has, per bin, count, probability and frequency with _before and _after, NaN in
    a bin without forecasts; a dot's area is its bin's share of the forecasts.
    """
    figure, row = _figure(theme, columns=len(diagrams))
    for axes, (title, bins) in zip(row, diagrams.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=theme.baseline, linewidth=1.5, linestyle="--")
        for state, colour in (("before", PREDICTION), ("after", theme.accent)):
            forecast, frequency = bins[f"probability_{state}"], bins[f"frequency_{state}"]
            shares = bins[f"count_{state}"] / bins[f"count_{state}"].sum()
            axes.plot(forecast, frequency, color=colour, linewidth=1.6, label=f"{state} scaling")
            axes.scatter(forecast, frequency, 8 + 260 * shares, color=colour, alpha=0.75)
        axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), title=title)
        axes.set(xlabel="forecast probability", ylabel="share that is salt")
    row[0].legend(loc="upper left", frameon=False, labelcolor=theme.ink)
    return _png(figure)


def risk_curves(curves: pd.DataFrame, names: dict[str, str], theme: Theme) -> bytes:
    """Draw risk against coverage: the orders in `names`, chance and the oracle.

    `curves` has the columns coverage, random, oracle and those of `names`, of which the first
    is drawn as ours.
    """
    figure, (axes,) = _figure(theme)
    coverage = 100 * curves["coverage"]
    lines = {"random": "chance", "oracle": "oracle"}
    for (column, label), style in zip(lines.items(), ("--", ":"), strict=True):
        axes.plot(coverage, curves[column], style, color=theme.muted, linewidth=1.6, label=label)
    colours = (theme.accent, PREDICTION, *FOLD_COLOURS[2:])
    for (column, label), colour in zip(names.items(), colours, strict=False):
        axes.plot(coverage, curves[column], color=colour, label=label)
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("% of tiles kept, surest first")
    axes.set_ylabel("mean loss (1 \N{MINUS SIGN} score)")
    figure.legend(
        loc="outside upper center", ncols=3, frameon=False, labelcolor=theme.ink, fontsize=8
    )
    return _png(figure)


def _figure(theme: Theme, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """Return a figure that no global state reaches, and its axes in the theme's ink."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_SIZE, dpi=DPI, layout="constrained")
    figure.patch.set_alpha(0)
    row = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in row:
        axes.patch.set_alpha(0)
        axes.grid(color=theme.line, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=theme.muted, length=0, labelsize=9.5)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=theme.muted, fontsize=9.5)
        axes.title.set(color=theme.ink, fontsize=10)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(theme.line)
    return figure, row


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()

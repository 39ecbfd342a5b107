"""Charts come out as PNG, the same bytes for the same numbers, and different by theme."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salt.report import figures
from salt.report.palette import DARK, LIGHT, Theme

HISTORY = pd.DataFrame(
    {
        "fold": [0, 0, 1, 1],
        "epoch": [1, 2, 1, 2],
        "train_loss": [1.0, 0.5, 1.1, 0.6],
        "validation_score": [0.2, 0.6, 0.3, 0.5],
    }
)
STEPS = [
    {"step": "single pass at 0.5", "score": 0.7, "interval": [0.65, 0.75]},
    {"step": "TTA mean at 0.5", "score": 0.7, "gain": 0.0, "gain_interval": [-0.01, 0.01]},
    {"step": "refined at 0.5", "score": 0.8, "gain": 0.1, "gain_interval": [0.06, 0.14]},
    {"step": "decided", "score": 0.75, "gain": -0.05, "gain_interval": [-0.06, -0.04]},
]
CURVE = pd.DataFrame({"threshold": [0.25, 0.5, 0.75], "score": [0.6, 0.8, 0.7]})
BINS = pd.DataFrame({"bin": [0.25, 0.5, 0.75]}).assign(
    **{
        f"{name}_{state}": values
        for state in ("before", "after")
        for name, values in {
            "count": [10, np.nan, 30],
            "probability": [0.2, np.nan, 0.8],
            "frequency": [0.1, np.nan, 0.9],
        }.items()
    }
)
RISKS = pd.DataFrame(
    {"coverage": [0.5, 1.0], "random": [0.3, 0.3], "oracle": [0.0, 0.3], "ours": [0.1, 0.3]}
)
DRAWERS: dict[str, Callable[[Theme], bytes]] = {
    "training_curves": lambda theme: figures.training_curves(HISTORY, theme),
    "waterfall": lambda theme: figures.waterfall(STEPS, theme),
    "score_histogram": lambda theme: figures.score_histogram(
        np.array([0.0, 0.3, 1.0]), np.array([True, True, False]), theme
    ),
    "reliability_diagrams": lambda theme: figures.reliability_diagrams(
        {"Pixels": BINS, "Presence": BINS}, theme
    ),
    "risk_curves": lambda theme: figures.risk_curves(RISKS, {"ours": "Ours"}, theme),
    "threshold_curve": lambda theme: figures.threshold_curve(CURVE, 0.5, theme),
}


@pytest.mark.parametrize("name", DRAWERS)
def test_a_chart_is_the_same_png_each_time_and_another_in_the_dark(name: str) -> None:
    draw = DRAWERS[name]
    light = draw(LIGHT)
    assert light == draw(LIGHT)
    assert light != draw(DARK)
    image = Image.open(io.BytesIO(light))
    assert image.format == "PNG"
    assert image.mode == "RGBA"
    assert set(image.info) == {"dpi"}  # neither software nor time


@pytest.mark.parametrize("name", DRAWERS)
def test_a_chart_lets_the_page_shine_through(name: str) -> None:
    image = np.asarray(Image.open(io.BytesIO(DRAWERS[name](LIGHT))))
    assert image[0, 0, 3] == 0

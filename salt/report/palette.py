"""The report's colours, one meaning each, safe for colour-blind readers.

Truth and prediction are the blue and the orange of Okabe and Ito (Color Universal Design,
2008), which stay apart under every common kind of colour blindness and on grey amplitude.
Frames of labelled tiles are their bluish green.
Maps use viridis and magma, which are perceptually uniform and ordered in lightness.
"""

from dataclasses import dataclass

TRUTH = "#56b4e9"
PREDICTION = "#f5a300"
LABELLED_TILE = "#00b386"  # frames in stitched sections
TEST_TILE = "#ffffff"
PROBABILITY_MAP = "viridis"
UNCERTAINTY_MAP = "magma"
FOLD_COLOURS = ("#2f8fd0", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


@dataclass(frozen=True)
class Theme:
    """Colours of the page and its figures on one kind of background."""

    name: str
    page: str
    card: str
    ink: str
    muted: str
    line: str
    accent: str
    baseline: str


LIGHT = Theme("light", "#f6f7f9", "#ffffff", "#16202c", "#5b6776", "#e1e5ea", "#0b6fb8", "#b4bdc8")
DARK = Theme("dark", "#0f141a", "#182029", "#e8edf3", "#98a5b4", "#2a3541", "#5ab4f0", "#556373")
THEMES = (LIGHT, DARK)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return `#rrggbb` as three integers from 0 to 255."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue

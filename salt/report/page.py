"""The report as one HTML file that needs nothing else: styles and pictures are inside it."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from salt.report.certainty_section import certainty_section
from salt.report.details import details_section
from salt.report.palette import LABELLED_TILE, PROBABILITY_MAP, TEST_TILE, UNCERTAINTY_MAP
from salt.report.panels import Group, Panel, TileRow
from salt.report.steps_section import steps_section
from salt.report.style import stylesheet

SOURCE_NAMES = {"demo": "Demo survey", "tgs": "TGS salt tiles"}
BASELINE_NAMES = {"all_empty": "No salt anywhere", "otsu": "Otsu threshold"}
SECTIONS = ("steps", "sections", "pictures", "charts", "certainty", "details")
LINES = {"Truth": "var(--truth)", "Prediction": "var(--prediction)"}
FRAMES = {"Labelled tile": LABELLED_TILE, "Test tile": TEST_TILE}
RAMPS = (
    ("Probability", "0", "1", PROBABILITY_MAP),
    ("Uncertainty (entropy)", "0", "ln 2", UNCERTAINTY_MAP),
)
Chart = tuple[str, str, dict[str, bytes]]  # title, description, PNG by theme


def render_page(
    metrics: dict[str, Any],
    charts: list[Chart],
    gallery: list[Group],
    stitched: Sequence[TileRow],
    certainty_charts: list[Chart],
    review: list[Group],
) -> str:
    """Return the page from metrics.json's content, the charts and the pictures.

    `stitched` holds the largest sections, see `salt.report.section_view`; `certainty_charts`
    and `review` are the pictures of the section on certainty.
    """
    source = SOURCE_NAMES[metrics["source"]]
    sections = [
        _header(source, metrics["tiles"]),
        _hero(metrics),
        steps_section(metrics["steps"], metrics["gain_of_all_steps"]),
        _stitched_section(stitched),
        _gallery_section(gallery),
        _charts_section(charts),
        certainty_section(metrics, _charts(certainty_charts), _groups(review)),
        details_section(metrics),
        _footer(),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Salt report: {source}, {metrics['out_of_fold']['score']:.3f}</title>\n"
        f"<style>\n{stylesheet()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(source: str, tiles: dict[str, int]) -> str:
    counts = f"{tiles['labelled']:,} labelled and {tiles['test']:,} test tiles"
    links = "".join(f'<a href="#{name}">{name.capitalize()}</a>' for name in SECTIONS)
    return (
        f"<header><div><h1>Salt segmentation report</h1><p>{source} · {counts}</p></div>"
        f"<nav>{links}</nav></header>"
    )


def _hero(metrics: dict[str, Any]) -> str:
    scored = metrics["out_of_fold"]
    low, high = scored["interval"]
    return (
        '<div class="card hero">\n<div>\n<p class="label">Out-of-fold score</p>\n'
        f'<p class="score">{scored["score"]:.3f}</p>\n'
        f'<p class="interval">95&nbsp;% interval {low:.3f} to {high:.3f}</p>\n'
        '<p class="note">Mean over labelled tiles, each predicted and decided by models and rules '
        "that never saw it. 1 is perfect.</p>\n</div>\n"
        f'<div class="bars">\n{_bars("Labelled tiles", scored, metrics["baselines"])}'
        f"{_held_out_bars(metrics)}</div>\n</div>"
    )


def _held_out_bars(metrics: dict[str, Any]) -> str:
    held_out = metrics.get("held_out")
    if held_out is None:
        return ""
    return _bars("Held-out test tiles", held_out, held_out["baselines"])


def _bars(title: str, scored: dict[str, Any], baselines: dict[str, float]) -> str:
    rows = [f'<p class="set">{title}</p>\n', _bar("This run", scored["score"], scored["interval"])]
    rows += [_bar(BASELINE_NAMES[name], score) for name, score in baselines.items()]
    return "".join(rows)


def _bar(name: str, score: float, interval: list[float] | None = None) -> str:
    whisker = ""
    if interval is not None:
        left, width = 100 * interval[0], 100 * (interval[1] - interval[0])
        whisker = f'<div class="whisker" style="left:{left:.2f}%;width:{width:.2f}%"></div>'
    kind = "bar" if interval is None else "bar ours"
    return (
        f'<div>{name}</div><div class="track"><div class="{kind}" style="width:{100 * score:.2f}%">'
        f'</div>{whisker}</div><div class="value">{score:.3f}</div>\n'
    )


def _stitched_section(rows: Sequence[TileRow]) -> str:
    lead = (
        "The largest sections, put together from their tiles. Seams are the thin lines around each "
        "tile; where there is no tile the page shows through. Labelled tiles were predicted "
        "while they were held out."
        if rows
        else "No sections are shown: none was found, or report.sections is 0."
    )
    shown = "\n".join(_tile(row, "panels pair") for row in rows)
    return (
        '<section id="sections">\n<h2>Sections</h2>\n'
        f'<p class="lead">{lead}</p>\n{_legend(LINES | FRAMES, RAMPS[1:])}\n{shown}\n</section>'
    )


def _gallery_section(groups: list[Group]) -> str:
    return (
        '<section id="pictures">\n<h2>Pictures</h2>\n'
        '<p class="lead">Each row is one tile, from the image on the left to the decision on the '
        "right. Labelled tiles were predicted while they were held out.</p>\n"
        f"{_legend(LINES, RAMPS)}\n{_groups(groups)}\n</section>"
    )


def _legend(colours: dict[str, str], maps: tuple[tuple[str, ...], ...]) -> str:
    ramps = "".join(
        f'<span>{label} {low} <i class="ramp" style="background:{_gradient(name)}"></i> {high}'
        "</span>"
        for label, low, high, name in maps
    )
    lines = "".join(
        f'<span><i class="swatch" style="background:{colour}"></i> {label}</span>'
        for label, colour in colours.items()
    )
    return f'<div class="legend">{lines}{ramps}</div>'


def _gradient(colours: str) -> str:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = ",".join(to_hex(colormaps[colours](at / 8)) for at in range(9))
    return f"linear-gradient(90deg,{stops})"


def _groups(groups: list[Group]) -> str:
    return "\n".join(_group(group) for group in groups)


def _group(group: Group) -> str:
    rows = "\n".join(_tile(row) for row in group.rows)
    return f'<div class="group">\n<h3>{group.title}</h3>\n<p>{group.reason}</p>\n{rows}\n</div>'


def _tile(row: TileRow, layout: str = "panels") -> str:
    panels = "".join(_panel(panel) for panel in row.panels)
    return (
        f'<div class="tile"><p><b>{escape(row.id)}</b> {escape(row.facts)}</p>'
        f'<div class="{layout}">{panels}</div></div>'
    )


def _panel(panel: Panel) -> str:
    height, width = panel.picture.shape[:2]
    return (
        f'<figure><img loading="lazy" width="{width}" height="{height}" alt="{escape(panel.alt)}" '
        f'src="{_data_uri(panel.png)}"><figcaption>{panel.caption}</figcaption></figure>'
    )


def _charts_section(charts: list[Chart]) -> str:
    return f'<section id="charts">\n<h2>Behind the score</h2>\n{_charts(charts)}\n</section>'


def _charts(charts: list[Chart]) -> str:
    figures = "\n".join(
        f"<figure><figcaption><b>{title}</b> {description}</figcaption><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(pictures["dark"])}">'
        f'<img src="{_data_uri(pictures["light"])}" alt="Chart: {title}. {description}">'
        "</picture></figure>"
        for title, description, pictures in charts
    )
    return f'<div class="charts">\n{figures}\n</div>'


def _footer() -> str:
    return (
        "<footer>Score of a tile: 1 if truth and prediction are both empty, 0 if only one is; "
        "otherwise the share of the thresholds 0.50, 0.55 … 0.95 that the IoU exceeds. Intervals "
        "are percentile bootstraps over tiles.</footer>"
    )


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()

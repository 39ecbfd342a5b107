"""The report as a whole: its files, its page and that it is the same every time."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salt.files import read_json
from salt.report.build import build_report
from salt.report.page import render_page

FILES = [
    "index.html",
    "metrics.json",
    "pictures/reliability.png",
    "pictures/risk-and-coverage.png",
    "pictures/score-per-step.png",
    "pictures/scores-of-the-tiles.png",
    "pictures/section_1.png",
    "pictures/section_1_uncertainty.png",
    "pictures/section_2.png",
    "pictures/section_2_uncertainty.png",
    "pictures/threshold.png",
    "pictures/tiles.png",
    "pictures/training.png",
    "plots/history.csv",
    "plots/reliability.csv",
    "plots/risk_coverage.csv",
    "plots/steps.csv",
    "plots/threshold.csv",
    "review.csv",
]


def build(data: Path, output: Path) -> Path:
    """Build the report of the fabricated run."""
    build_report(
        data,
        output,
        source="demo",
        folds=[0, 1],
        gallery_tiles=2,
        sections=3,
        bootstrap_samples=50,
        seed=3,
    )
    return output


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, fabricate: Callable) -> Path:
    """A report, built once."""
    folder = tmp_path_factory.mktemp("report")
    return build(fabricate(folder / "data"), folder / "data/report")


def render_without_pictures(metrics: dict[str, Any]) -> str:
    return render_page(metrics, [], [], stitched=[], certainty_charts=[], review=[])


class Page(HTMLParser):
    """Collects tags with their attributes, and checks that each is closed."""

    void = frozenset({"meta", "img", "source", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_writes_its_files_and_nothing_else(report: Path) -> None:
    found = sorted(str(path.relative_to(report)) for path in report.rglob("*") if path.is_file())
    assert found == FILES


def test_a_second_build_elsewhere_gives_the_same_bytes(report: Path, tmp_path: Path) -> None:
    again = build(report.parent, tmp_path / "elsewhere")
    for name in FILES:
        assert (again / name).read_bytes() == (report / name).read_bytes(), name


def test_the_page_is_well_formed_and_needs_no_network(report: Path) -> None:
    text = (report / "index.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", text))
    for tag, attributes in page.tags:
        for name in ("src", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag


def test_every_picture_has_a_text_for_those_who_do_not_see_it(report: Path) -> None:
    images = [
        found for tag, found in Page((report / "index.html").read_text()).tags if tag == "img"
    ]
    reviewed = 2 * 4  # test and labelled tiles
    sections = 2 * 2
    assert len(images) == (2 + reviewed) * 6 + sections + 4 + 2  # and charts
    assert all(len(image["alt"] or "") > 20 for image in images)


def test_the_page_leads_with_the_score_and_its_interval(report: Path) -> None:
    text, metrics = (report / "index.html").read_text(), read_json(report / "metrics.json")
    low, high = metrics["out_of_fold"]["interval"]
    places = [
        text.index(f'class="score">{metrics["out_of_fold"]["score"]:.3f}'),
        text.index(f"interval {low:.3f} to {high:.3f}"),
        text.index('id="steps"'),
        text.index('id="pictures"'),
    ]
    assert places == sorted(places)


def test_the_page_without_known_truth_shows_no_held_out_score(report: Path) -> None:
    metrics = read_json(report / "metrics.json")
    assert "Held-out test tiles" in render_without_pictures(metrics)
    del metrics["held_out"], metrics["risk"]["held_out_area"]
    page = render_without_pictures(metrics | {"source": "tgs"})
    assert "TGS salt tiles" in page
    assert "Held-out test tiles" not in page


def test_the_page_shows_the_sections_it_is_given_or_says_that_there_are_none(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert text.count('<div class="panels pair">') == 2
    assert "No sections are shown" not in text
    metrics = read_json(report / "metrics.json")
    assert "No sections are shown" in render_without_pictures(metrics)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [([0.01, 0.03], "better"), ([-0.03, -0.01], "worse"), ([-0.01, 0.03], "unclear")],
)
def test_a_gain_whose_interval_holds_zero_is_called_unclear(
    report: Path, interval: list[float], verdict: str
) -> None:
    metrics = read_json(report / "metrics.json")
    for step in metrics["steps"][1:]:
        step |= {"gain": 0.01, "gain_interval": interval}
    metrics["gain_of_all_steps"] = {"gain": 0.01, "gain_interval": interval}
    page = render_without_pictures(metrics)
    assert page.count(f'<b class="{verdict}">') == 8  # seven gains and that of all together


def test_a_step_that_was_not_taken_says_what_would_take_it(report: Path) -> None:
    metrics = read_json(report / "metrics.json")
    assert "Not taken" not in render_without_pictures(metrics)
    metrics["steps"] = [step for step in metrics["steps"] if "dropout" not in step["step"]]
    page = render_without_pictures(metrics)
    assert "Not taken: one pass, without dropout (uncertainty.passes)." in page


def test_the_effect_of_post_processing_is_shown_although_it_is_off(report: Path) -> None:
    effects = read_json(report / "metrics.json")["postprocessing"]
    assert effects["seam_feather"]["interval"] == [-0.001, 0.002]
    page = (report / "index.html").read_text()
    assert "Blend across seams, 8 px</td>" in page
    assert "-0.0010 to +0.0020</td>" in page


def test_snapshots_have_a_row_only_where_there_are_some(report: Path) -> None:
    metrics = read_json(report / "metrics.json")
    assert "Snapshot mean at 0.5" in render_without_pictures(metrics)
    steps = [step for step in metrics["steps"] if step["step"] != "snapshot mean at 0.5"]
    assert "Snapshot mean" not in render_without_pictures(metrics | {"steps": steps})


def test_the_plots_hold_each_epoch_step_and_threshold(report: Path) -> None:
    history, steps, threshold = (
        pd.read_csv(report / f"plots/{name}.csv") for name in ("history", "steps", "threshold")
    )
    assert history.groupby("fold")["epoch"].count().to_dict() == {0: 12, 1: 12}
    assert list(history)[:2] == ["fold", "epoch"]
    assert list(steps) == ["step", "score", "low", "high", "gain", "gain_low", "gain_high"]
    assert len(steps) == 8
    assert list(threshold) == ["threshold", "score"]


def test_the_section_on_certainty_shows_calibration_risk_and_the_review_list(report: Path) -> None:
    text, metrics = (report / "index.html").read_text(), read_json(report / "metrics.json")
    section = text[text.index('id="certainty"') : text.index('id="details"')]
    pixels, area = metrics["calibration"]["pixels"], metrics["risk"]["area"]
    for state in ("before", "after"):
        assert f"{pixels[state]['calibration_error']:.4f}" in section
    assert f'<td class="number">{area["expected_loss"]:.4f}</td>' in section
    assert section.index("Oracle") < section.index("Chance")
    first = pd.read_csv(report / "review.csv").iloc[0]
    assert f"<b>{first['id']}</b> rank 1 · expected loss {first['expected_loss']:.2f}" in section


def test_a_run_without_presence_shows_the_pixels_calibration_alone(report: Path) -> None:
    metrics = read_json(report / "metrics.json")
    assert "Brier score, presence" in render_without_pictures(metrics)
    del metrics["calibration"]["presence"]
    page = render_without_pictures(metrics)
    assert "Brier score, presence" not in page
    assert "Brier score, pixels" in page

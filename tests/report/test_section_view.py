"""What the stitched sections show, and that they stay small."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salt.errors import ParameterError
from salt.files import read_csv, write_csv
from salt.report import section_view
from salt.report.run import open_run
from salt.report.section_view import (
    GAP_INK,
    LABELLED_INK,
    LARGEST_SIDE,
    PREDICTION_INK,
    TEST_INK,
    TRUTH_INK,
    build_sections,
    indexed_png,
)

FOLDS = [0, 1]
SIDE = LARGEST_SIDE  # few tiles are drawn at full size


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    return picture[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]


def test_the_largest_sections_come_first_with_their_facts(finished_run: Path) -> None:
    run = open_run(finished_run, FOLDS)
    first, second = build_sections(run, 5)
    score = run.labelled.scores[[0, 1]].mean()
    assert first.id == "Section 0"
    assert first.facts == (
        f"4 tiles in 2 rows and 3 columns · 2 labelled · 2 test · labelled tiles score {score:.2f}"
    )
    assert second.facts.startswith("2 tiles in 2 rows and 1 columns · 2 labelled · 0 test")
    assert [row.id for row in build_sections(run, 1)] == ["Section 0"]
    assert build_sections(run, 0) == []


def test_gaps_and_seams_tell_where_labelled_and_test_tiles_lie(finished_run: Path) -> None:
    row = build_sections(open_run(finished_run, FOLDS), 1)[0]
    for panel in row.panels:
        assert panel.picture.shape == (2 * SIDE, 3 * SIDE)
        for place in ((0, 2), (1, 0)):
            assert (cell(panel.picture, *place) == GAP_INK).all()
        for place, ink in {(0, 0): LABELLED_INK, (0, 1): LABELLED_INK, (1, 1): TEST_INK}.items():
            seam = cell(panel.picture, *place)[0]
            assert np.isin(seam, [ink, TRUTH_INK, PREDICTION_INK]).all()
            assert (seam == ink).any()
        below_labelled, below_test = cell(panel.picture, 0, 0)[-1], cell(panel.picture, 1, 1)[-1]
        assert (below_labelled == LABELLED_INK).any()
        assert not (below_test == TEST_INK)[1:].any()  # so that a seam is a single thin line


def test_truth_is_drawn_where_it_is_known(
    finished_run: Path, fabricate: Callable, tmp_path: Path
) -> None:
    def inks_of(data: Path) -> list[bool]:
        picture = build_sections(open_run(data, FOLDS), 1)[0].panels[0].picture
        return [bool((cell(picture, *place) == TRUTH_INK).any()) for place in ((0, 0), (1, 1))]

    assert inks_of(finished_run) == [True, True]
    assert inks_of(fabricate(tmp_path / "blind", with_truth=False)) == [True, False]


def test_many_tiles_are_drawn_smaller_so_that_the_page_stays_small(
    fabricate: Callable, tmp_path: Path
) -> None:
    data = fabricate(tmp_path / "data", labelled=60, test=4)
    path = data / "index/neighbours.csv"
    table = read_csv(path)
    table["mosaic"], table["row"], table["column"] = 0, np.arange(64) // 8, np.arange(64) % 8
    write_csv(path, table)
    panels = build_sections(open_run(data, FOLDS), 5)[0].panels
    assert panels[0].picture.shape == (8 * 125, 8 * 125)  # 125^2 is a million by 64, rounded down
    assert sum(len(panel.png) for panel in panels) * 4 / 3 < 2_000_000


def test_the_largest_possible_pictures_keep_the_page_below_two_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, section_view.SHADES, (1000, 1000), np.uint8)
    assert noise.size == section_view.PIXELS
    assert 2 * len(indexed_png(noise)) * 4 / 3 < 2_000_000  # image and uncertainty, as base64


def test_gaps_are_transparent_and_lines_have_their_exact_colours() -> None:
    inks = np.array([[0, TRUTH_INK, PREDICTION_INK, LABELLED_INK, TEST_INK, GAP_INK]], np.uint8)
    pixels = np.asarray(Image.open(io.BytesIO(indexed_png(inks))).convert("RGBA"))[0]
    assert pixels[:, 3].tolist() == [255] * 5 + [0]
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue, _ in pixels[1:5].tolist()]
    assert tuple(colours) == section_view.LINES


def test_a_run_without_sections_shows_none(finished_run: Path) -> None:
    path = finished_run / "index/neighbours.csv"
    table = read_csv(path)
    write_csv(path, table.assign(mosaic=range(len(table)), row=0, column=0))
    run = open_run(finished_run, FOLDS)
    assert build_sections(run, 5) == []
    assert section_view.draw_sheet(run) is None


def test_the_command_writes_the_same_picture_each_time(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_run.parent)
    for name in ("one.png", "two.png"):
        section_view.main([name])
    one, two = (Path(name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    gap = section_view.SHEET_GAP
    assert Image.open(io.BytesIO(one)).size == (2 * (3 * 101 + gap), 4 * 101 + 2 * gap)


def test_the_command_says_what_it_expects() -> None:
    with pytest.raises(ParameterError, match="got 0 arguments; expected the PNG to write"):
        section_view.main([])

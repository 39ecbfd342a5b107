"""Which tiles are shown, and what their pictures show."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salt.errors import ParameterError
from salt.report import gallery
from salt.report.painting import (
    SCALE,
    fill,
    outline_prediction,
    outline_truth,
    paint_amplitude,
    paint_map,
    png,
)
from salt.report.palette import PREDICTION, TRUTH, rgb
from salt.report.panels import labelled_row, unlabelled_row
from salt.report.run import open_run
from salt.seeding import generator

FOLDS = [0, 1]
GREY = np.full((101, 101), 128, np.uint8)
LEFT_HALF = np.zeros((101, 101), np.uint8)
LEFT_HALF[:, :50] = 1

MEASURED = pd.DataFrame(
    {
        "decided": [1.0, 1.0, 0.0, 0.0, 0.9, 0.5],
        "iou": [1.0, 0.97, 0.0, 0.0, 0.93, 0.7],
        "wrong_pixels": [0, 30, 100, 5000, 60, 700],
        "has_salt": [False, True, True, True, True, True],
        "uncertainty": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
    }
)


def test_best_have_salt_worst_are_most_wrong_and_no_tile_comes_twice() -> None:
    wanted = {"random": 1, "best": 1, "worst": 1, "uncertain": 1, "test": 0}
    constant = np.array([False, False, False, False, False, False])
    constant[:4] = constant[5] = True  # leaves tile 4 to be drawn
    chosen = gallery.choose_labelled(MEASURED, constant, wanted, generator(1))
    assert {name: tiles.tolist() for name, tiles in chosen.items()} == {
        "random": [4],
        "best": [1],
        "worst": [3],
        "uncertain": [5],
    }


def test_half_of_the_test_tiles_are_the_most_uncertain() -> None:
    tiles = gallery.choose_unlabelled(MEASURED, np.zeros(6, bool), 4, generator(1))
    assert tiles[2:].tolist() == [5, 4]
    assert len(set(tiles.tolist())) == 4


def test_the_gallery_shows_as_many_tiles_as_asked_for(finished_run: Path) -> None:
    run = open_run(finished_run, FOLDS)
    measured = gallery.measure_labelled(run)
    tests = pd.DataFrame({"uncertainty": np.arange(6.0)})
    groups = gallery.build_gallery(run, measured, tests, 7, generator(1))
    assert [len(group.rows) for group in groups] == [2, 2, 1, 1, 1]
    alone = gallery.build_gallery(run, measured, tests, 1, generator(1))
    assert [group.title for group in alone] == ["Drawn at random"]


def test_a_labelled_tile_shows_all_six_panels_with_texts(finished_run: Path) -> None:
    row = labelled_row(open_run(finished_run, FOLDS), 0)
    captions = ["Image", "Truth", "Probability", "Uncertainty", "Refined", "Decision"]
    assert [panel.caption for panel in row.panels] == captions
    assert all(panel.picture.shape == (101 * SCALE, 101 * SCALE, 3) for panel in row.panels)
    assert all("a000" in panel.alt for panel in row.panels)
    assert "IoU with the truth" in row.panels[-1].alt


def test_a_test_tile_without_truth_shows_five_panels(fabricate: Callable, tmp_path: Path) -> None:
    run = open_run(fabricate(tmp_path / "data", with_truth=False), FOLDS)
    row = unlabelled_row(run, 2)
    assert row.id == "b002"
    assert "Truth" not in [panel.caption for panel in row.panels]
    assert len(row.panels) == 5


def test_outlines_lie_on_the_border_and_not_on_the_frame() -> None:
    drawn = outline_truth(paint_amplitude(GREY), LEFT_HALF)
    is_line = (drawn == rgb(TRUTH)).all(axis=2)
    columns = np.flatnonzero(is_line.any(axis=0))
    assert is_line[:, columns].all()
    assert columns.min() == 50 * SCALE - 4
    assert columns.max() == 50 * SCALE + 3


def test_where_truth_and_prediction_agree_both_lines_are_seen() -> None:
    drawn = outline_prediction(outline_truth(paint_amplitude(GREY), LEFT_HALF), LEFT_HALF)
    for colour in (TRUTH, PREDICTION):
        assert (drawn == rgb(colour)).all(axis=2).any()


def test_a_fill_tints_the_mask_alone() -> None:
    painted = fill(paint_amplitude(GREY), LEFT_HALF, TRUTH)
    assert (painted[:, 50 * SCALE :] == 128).all()
    assert (painted[:, : 50 * SCALE] != 128).any()


def test_a_map_goes_from_the_darkest_to_the_lightest_colour() -> None:
    ends = paint_map(np.array([[0.0, 1.0]]), 1.0, "viridis")
    assert ends[0, 0].tolist() == [68, 1, 84]
    assert ends[0, -1].tolist() == [253, 231, 36]


def test_a_png_holds_the_picture_exactly() -> None:
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert (np.asarray(Image.open(io.BytesIO(png(picture)))) == picture).all()


def test_the_strip_for_the_readme_is_small_and_the_same_each_time(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_run.parent)
    for name in ("one.png", "two.png"):
        gallery.main([f"docs/{name}"])
    one, two = (Path(f"docs/{name}").read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    assert len(one) < 300_000
    assert Image.open(io.BytesIO(one)).width == 6 * 202 + 5 * 10 + 2 * 20


def test_the_strip_command_says_what_it_expects() -> None:
    with pytest.raises(ParameterError, match="got 0 arguments; expected the PNG to write"):
        gallery.main([])

"""The whole puzzle: shuffled tiles of known pictures."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import cut, draw_puzzle, draw_section, gained
from PIL import Image

from salt.errors import InputError
from salt.neighbours.accuracy import seam_accuracy
from salt.neighbours.jigsaw import jigsaw

TGS = Path(__file__).resolve().parents[2] / "../shared/data/tgs"


@pytest.mark.parametrize("size", [(32, 40), (64, 24), (101, 101)])
def test_shuffled_tiles_with_gains_and_noise_are_put_back(size: tuple[int, int]) -> None:
    images, places = draw_puzzle(1, size=size)
    found = seam_accuracy(jigsaw(images).sides, places)
    assert found["true_seams"] == 2 * (6 * 7 + 5 * 8)
    assert found["precision"] >= 0.995
    assert found["recall"] >= 0.985


def test_rows_and_columns_are_those_of_the_picture() -> None:
    images, places = draw_puzzle(2, sections=1)
    layout = jigsaw(images).layout
    assert (layout.mosaic == 0).all()
    np.testing.assert_array_equal(layout.column, places[:, 1])
    np.testing.assert_array_equal(layout.row, places[:, 2])


def test_pictures_do_not_run_into_each_other() -> None:
    images, places = draw_puzzle(3, sections=4)
    layout = jigsaw(images).layout
    pairs = set(zip(layout.mosaic.tolist(), places[:, 0].tolist(), strict=True))
    assert len(pairs) == len({picture for _, picture in pairs}) == 4


def test_a_missing_third_of_the_tiles_is_survived() -> None:
    images, places = draw_puzzle(4, sections=3)
    images, places = images[: 2 * len(images) // 3], places[: 2 * len(places) // 3]
    found = seam_accuracy(jigsaw(images).sides, places)
    assert found["precision"] >= 0.99
    assert found["recall"] >= 0.97


def test_tiles_of_unrelated_pictures_stay_alone() -> None:
    draw = np.random.default_rng(5)
    images = gained(np.stack([draw_section(draw, 32, 32) for _ in range(400)]), draw)
    assert len(jigsaw(images).seams) <= 4


def test_constant_tiles_match_nothing() -> None:
    images, _ = draw_puzzle(6, sections=1)
    images[::6] = 0
    images[1::6] = 255
    solved = jigsaw(images)
    constant = np.arange(len(images)) % 6 < 2
    beside = np.stack([solved.sides[side] for side in ("left", "right", "up", "down")])
    joined = solved.seams.loc[solved.seams["confidence"] > 0.6]
    assert not constant[joined[["first", "second"]].to_numpy()].any()
    assert (beside[:, ~constant] >= 0).any()


def test_neighbours_agree_both_ways_and_with_the_grid() -> None:
    images, _ = draw_puzzle(7, noise=0.3)
    solved = jigsaw(images)
    for side, back in (("right", "left"), ("down", "up")):
        first = np.flatnonzero(solved.sides[side] >= 0)
        np.testing.assert_array_equal(solved.sides[back][solved.sides[side][first]], first)
    layout = solved.layout
    places = pd.DataFrame({"m": layout.mosaic, "r": layout.row, "c": layout.column})
    assert not places.duplicated().any()


def test_confidences_are_probabilities_and_true_seams_have_more() -> None:
    images, places = draw_puzzle(8, noise=0.1)
    seams = jigsaw(images).seams
    step = np.array([[0, 1, 0], [0, 0, 1]])[seams["axis"]]
    true = (places[seams["first"]] + step == places[seams["second"]]).all(axis=1)
    assert seams["confidence"].between(0, 1, inclusive="neither").all()
    assert seams["confidence"][true].median() > 0.99


def test_the_result_is_the_same_again() -> None:
    images, _ = draw_puzzle(9)
    first, second = jigsaw(images), jigsaw(images)
    pd.testing.assert_frame_equal(first.seams, second.seams)
    np.testing.assert_array_equal(first.layout.mosaic, second.layout.mosaic)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_strangers_is_no_section(count: int) -> None:
    draw = np.random.default_rng(count)
    images = gained(np.stack([draw_section(draw, 48, 48) for _ in range(count)]), draw)
    assert len(jigsaw(images).seams) == 0


def test_two_halves_find_each_other() -> None:
    draw = np.random.default_rng(12)
    tiles, _ = cut(draw_section(draw, 64, 128), (64, 64))
    strangers = [draw_section(draw, 64, 64) for _ in range(6)]
    images = gained(np.concatenate([tiles, strangers]), draw)
    seams = jigsaw(images).seams
    assert seams[["first", "second", "axis"]].to_numpy().tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("shape", [(4, 5, 32), (4, 32, 5), (0, 32, 32), (4, 32, 32, 3)])
def test_images_that_hold_no_seam_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected grey tiles \[n, H, W\]"):
        jigsaw(np.zeros(shape, np.uint8))


@pytest.mark.slow
@pytest.mark.skipif(not TGS.exists(), reason="the TGS data is not at ../shared/data/tgs")
def test_labelled_masks_of_tgs_go_on_across_the_seams() -> None:
    with zipfile.ZipFile(TGS / "train.zip") as train, zipfile.ZipFile(TGS / "test.zip") as test:
        ids = sorted(Path(name).stem for name in train.namelist() if "images/" in name)
        masks = np.stack([_read(train, f"masks/{tile}.png") for tile in ids if tile]) > 0
        images = [_read(train, f"images/{tile}.png") for tile in ids if tile]
        images += [_read(test, name) for name in sorted(test.namelist()) if name.endswith(".png")]
    solved = jigsaw(np.stack(images))
    assert 7_600 <= len(solved.seams) <= 8_400
    seams = solved.seams[solved.seams[["first", "second"]].max(axis=1) < len(masks)]
    across = seams[seams["axis"] == 0]
    first, second = masks[across["first"]], masks[across["second"]]
    some = first.any(axis=(1, 2)) & second.any(axis=(1, 2))  # all-salt tiles are labelled empty
    jumps = (first[some][:, :, -1] != second[some][:, :, 0]).mean(axis=1)
    assert some.sum() >= 15
    assert jumps.mean() < 0.05


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(archive.read(name)))
    return np.asarray(picture if picture.mode.startswith("I") else picture.convert("L"))

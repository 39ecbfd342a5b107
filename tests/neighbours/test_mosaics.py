"""Mosaics read back, taken by size and stitched."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salt.errors import InputError, StoreError
from salt.files import write_csv
from salt.neighbours.mosaics import read_layout, sections_of, stitch
from salt.neighbours.sections import Layout

IDS = pd.Series(["7", "8", "9"])


def _layout(mosaic: list[int]) -> Layout:
    zeros = np.zeros(len(mosaic), np.int64)
    return Layout(np.array(mosaic), zeros, zeros)


def test_tiles_are_stitched_with_gaps_where_none_lies() -> None:
    tiles = np.stack([np.full((2, 3), value, np.uint8) for value in (1, 2, 3)])
    stitched = stitch(tiles, np.array([4, 4, 5]), np.array([7, 9, 8]), gap=9)
    top, bottom = [1, 1, 1, 9, 9, 9, 2, 2, 2], [9, 9, 9, 3, 3, 3, 9, 9, 9]
    assert stitched.tolist() == [top, top, bottom, bottom]
    assert stitched.dtype == np.uint8


def test_cut_and_stitched_a_colour_picture_is_whole_again() -> None:
    picture = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    cells = [(row, column) for row in range(2) for column in range(3)]
    tiles = np.stack([picture[2 * r : 2 * r + 2, 2 * c : 2 * c + 2] for r, c in cells])
    rows, columns = np.array(cells).T
    assert (stitch(tiles, rows, columns, gap=-1) == picture).all()


def test_one_tile_stitches_to_itself() -> None:
    tile = np.random.default_rng(0).normal(size=(1, 5, 5))
    assert (stitch(tile, np.array([3]), np.array([2]), gap=np.nan) == tile[0]).all()


@pytest.mark.parametrize(("rows", "named"), [([0, 0], "1 cells"), ([0], "1 rows"), ([], "0 rows")])
def test_tiles_without_a_cell_of_their_own_are_refused(rows: list[int], named: str) -> None:
    columns = np.zeros(len(rows), np.int64)
    with pytest.raises(InputError, match=named):
        stitch(np.zeros((2, 3, 3)), np.array(rows, np.int64), columns, gap=0)


def test_no_tiles_are_refused() -> None:
    nothing = np.zeros(0, np.int64)
    with pytest.raises(InputError, match="0 tiles"):
        stitch(np.zeros((0, 3, 3)), nothing, nothing, gap=0)


def test_sections_are_the_mosaics_of_two_tiles_or_more_by_falling_size() -> None:
    sections = sections_of(_layout([5, 2, 0, 2, 7, 0, 0]))
    assert [tiles.tolist() for tiles in sections] == [[2, 5, 6], [1, 3]]
    assert sections_of(_layout([0, 1, 2])) == []


def test_a_layout_is_read_in_the_stores_order(tmp_path: Path) -> None:
    places = {"mosaic": [0, 0, 1], "row": [0, 1, 0], "column": [2, 2, 0]}
    write_csv(tmp_path / "neighbours.csv", pd.DataFrame({"id": IDS} | places))
    layout = read_layout(tmp_path / "neighbours.csv", IDS)
    assert {name: getattr(layout, name).tolist() for name in places} == places
    with pytest.raises(StoreError, match=r"3 other or unordered ids; expected .* all 3 tiles"):
        read_layout(tmp_path / "neighbours.csv", IDS[::-1])


def test_a_layout_without_places_names_the_column(tmp_path: Path) -> None:
    write_csv(tmp_path / "neighbours.csv", pd.DataFrame({"id": IDS, "mosaic": 0, "row": 0}))
    with pytest.raises(StoreError, match="no column 'column'"):
        read_layout(tmp_path / "neighbours.csv", IDS)

"""Previous and next tiles."""

import numpy as np
import pandas as pd
import pytest

from salt.errors import StoreError
from salt.neighbours.stack import stack_neighbours


def test_depth_orders_tiles_and_leaves_out_those_without() -> None:
    table = pd.DataFrame({"depth": [300.0, 100.0, np.nan, 200.0]})
    previous, following = stack_neighbours(table, "depth")
    assert previous.tolist() == [3, -1, -1, 1]
    assert following.tolist() == [-1, 3, -1, 0]


def test_equal_depths_go_in_the_order_of_rows() -> None:
    previous, following = stack_neighbours(pd.DataFrame({"depth": [5.0, 5.0, 5.0]}), "depth")
    assert previous.tolist() == [-1, 0, 1]
    assert following.tolist() == [1, 2, -1]


def _geometry(places: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(places, columns=["volume", "inline", "crossline", "sample"])
    return table.assign(id=[f"tile{row}" for row in range(len(table))])


def test_volume_steps_one_inline_at_the_same_place() -> None:
    table = _geometry([(0, 2, 1, 0), (0, 1, 1, 0), (0, 1, 0, 0), (1, 2, 1, 0), (0, 4, 1, 0)])
    previous, following = stack_neighbours(table, "volume")
    assert previous.tolist() == [1, -1, -1, -1, -1]
    assert following.tolist() == [-1, 0, -1, -1, -1]


def test_section_steps_to_the_left_and_to_the_right() -> None:
    sides = {"left": np.array([-1, 0, -1]), "right": np.array([1, -1, -1])}
    previous, following = stack_neighbours(pd.DataFrame({"id": list("abc")}), "section", sides)
    assert previous.tolist() == [-1, 0, -1]
    assert following.tolist() == [1, -1, -1]


def test_section_without_sides_is_refused() -> None:
    with pytest.raises(StoreError, match="no sections were given; expected the left and right"):
        stack_neighbours(pd.DataFrame({"id": ["a"]}), "section")


def test_none_has_no_neighbours() -> None:
    previous, following = stack_neighbours(pd.DataFrame({"depth": [1.0, 2.0]}), "none")
    assert previous.tolist() == following.tolist() == [-1, -1]


def test_volume_without_geometry_is_refused() -> None:
    with pytest.raises(
        StoreError, match=r"no column 'volume'.*Set index.stack to section, depth or none"
    ):
        stack_neighbours(pd.DataFrame({"depth": [1.0]}), "volume")


def test_two_tiles_in_one_place_are_refused() -> None:
    with pytest.raises(StoreError, match=r"two tiles in one place.*tile1"):
        stack_neighbours(_geometry([(0, 1, 1, 0), (0, 1, 1, 0)]), "volume")

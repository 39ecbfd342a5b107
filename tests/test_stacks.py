"""Which tiles make a stack, and whether they lie side by side."""

from pathlib import Path

import pandas as pd
import pytest
from tiny_project import stack_along_sections

from salt.errors import StoreError
from salt.stacks import lie_along_section, read_neighbours, stack_rows
from salt.store import open_store


def test_neighbours_of_other_tiles_are_refused(project: Path) -> None:
    store = open_store(project / "data/ingest")
    neighbours = pd.DataFrame({"id": store.table["id"][::-1], "previous": "", "next": ""})
    with pytest.raises(StoreError, match="not the store's 30 in order"):
        stack_rows(store, neighbours, width=3)


def test_a_neighbour_that_is_no_tile_is_named(project: Path) -> None:
    store = open_store(project / "data/ingest")
    neighbours = pd.DataFrame({"id": store.table["id"], "previous": "", "next": ""})
    neighbours.loc[2, "next"] = "nobody"
    with pytest.raises(StoreError, match="'nobody'"):
        stack_rows(store, neighbours, width=3)


def neighbours_of(previous: list[str], following: list[str]) -> pd.DataFrame:
    """Return the neighbours of tiles a, b, c that lie in a row, stacked as told."""
    sides = {"left": ["", "a", "b"], "right": ["b", "c", ""]}
    return pd.DataFrame({"id": list("abc"), **sides, "previous": previous, "next": following})


def test_stacks_of_the_left_and_right_tiles_lie_along_the_section() -> None:
    assert lie_along_section(neighbours_of(["", "a", "b"], ["b", "c", ""]))


@pytest.mark.parametrize(
    ("previous", "following"),
    [
        (["", "", ""], ["", "", ""]),  # no stacks
        (["b", "c", ""], ["", "a", "b"]),  # inlines that run the other way
        (["", "a", "b"], ["b", "", ""]),  # by depth, mostly as they lie
        (["c", "a", "b"], ["b", "c", ""]),
    ],
)
def test_other_stacks_do_not(previous: list[str], following: list[str]) -> None:
    assert not lie_along_section(neighbours_of(previous, following))


def test_tiles_beside_nothing_have_no_stacks_along_a_section() -> None:
    columns = ["id", "left", "right", "previous", "next"]
    assert not lie_along_section(pd.DataFrame("", index=range(3), columns=columns))
    assert not lie_along_section(pd.DataFrame(columns=columns, dtype=str))


def test_the_neighbour_table_of_a_project_tells(project: Path) -> None:
    assert not lie_along_section(read_neighbours(project / "data/index"))
    stack_along_sections(project)
    assert lie_along_section(read_neighbours(project / "data/index"))

"""A user's table of neighbours: what it means, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from salt.errors import InputError
from salt.files import read_csv, write_csv
from salt.neighbours.given import read_given
from salt.neighbours.jigsaw import Jigsaw

Read = Callable[..., Jigsaw]

IDS = pd.Series(["1", "2", "3", "4", "5"])  # ids that look like numbers stay text
EDGES = "id,left,right,up,down"
# 2 1
# 3
CORNER = ["1,2,,,", "2,,1,,3", "3,,,2,"]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a table line by line and read it."""

    def read_lines(*lines: str, header: str = EDGES) -> Jigsaw:
        path = tmp_path / "neighbours.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return read_given(path, IDS)

    return read_lines


def grid(puzzle: Jigsaw) -> list[tuple[int, int, int]]:
    layout = puzzle.layout
    columns = (layout.mosaic, layout.row, layout.column)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_places_follow_from_the_edges_and_missing_tiles_lie_alone(read: Read) -> None:
    puzzle = read(*CORNER)
    assert grid(puzzle) == [(0, 0, 1), (0, 0, 0), (0, 1, 0), (1, 0, 0), (2, 0, 0)]
    assert puzzle.sides["right"].tolist() == [-1, 0, -1, -1, -1]
    assert puzzle.sides["up"].tolist() == [-1, -1, 1, -1, -1]
    assert puzzle.seams[["first", "second", "axis"]].to_numpy().tolist() == [[1, 0, 0], [1, 2, 1]]
    assert (puzzle.seams["confidence"] == 1).all()


def test_a_fourth_tile_closes_the_loop_that_three_edges_leave_open(read: Read) -> None:
    puzzle = read("1,2,,,", "2,,1,,3", "3,,4,2,", "4,3,,,")
    assert puzzle.sides["down"].tolist() == [3, 2, -1, -1, -1]


def test_rows_may_come_in_any_order(read: Read) -> None:
    assert grid(read(*CORNER[::-1])) == grid(read(*CORNER))


def test_places_that_are_given_may_leave_gaps_and_start_anywhere(read: Read) -> None:
    puzzle = read(
        "1,2,,,,west,7,-2",
        "2,,1,,,west,7,-3",
        "3,,,,,west,9,-3",
        "4,,,,,,,",
        header=f"{EDGES},mosaic,row,column",
    )
    assert grid(puzzle) == [(0, 0, 1), (0, 0, 0), (0, 2, 0), (1, 0, 0), (2, 0, 0)]


def test_what_the_index_writes_can_be_brought_back(read: Read, tmp_path: Path) -> None:
    first = read(*CORNER)
    names = [*IDS, ""]
    sides = {side: [names[row] for row in rows] for side, rows in first.sides.items()}
    places = {name: getattr(first.layout, name) for name in ("mosaic", "row", "column")}
    table = pd.DataFrame({"id": IDS} | sides | places | {"previous": "", "next": ""})
    write_csv(tmp_path / "again.csv", table)
    again = read_given(tmp_path / "again.csv", IDS)
    assert grid(again) == grid(first)
    assert {side: rows.tolist() for side, rows in again.sides.items()} == {
        side: rows.tolist() for side, rows in first.sides.items()
    }
    assert read_csv(tmp_path / "again.csv")["id"].tolist() == list(IDS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no rows; expected id, left, right, up, down"),
        (["9,,,,"], "1 names in column 'id' are of no tile .*'9'"),
        (["1,9,,,"], "1 names in column 'left' are of no tile .*'9'"),
        (["1,,,,", "1,,,,"], "id '1' comes twice"),
        (["1,1,,,"], "tile '1' has itself as its neighbour left"),
        (["1,2,,,", "2,,,,"], "left of '1' is '2', but right of '2' is nothing"),
        (["1,2,,,"], "left of '1' is '2', but right of '2' is nothing"),
        (["1,2,,,", "2,,3,,", "3,2,,,"], "left of '1' is '2', but right of '2' is '3'"),
        (["1,2,2,,", "2,1,1,,"], "which other edges .* put elsewhere; expected one place"),
        (["1,,2,,3", "2,1,,3,", "3,,,1,2"], "which other edges .* put elsewhere"),
    ],
)
def test_a_contradiction_is_named_in_one_line(read: Read, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(*lines)
    assert "\n" not in str(caught.value)
    assert "neighbours.csv" in str(caught.value)


def test_two_tiles_that_the_edges_lead_to_one_place_are_refused(read: Read) -> None:
    # 1 right 2 down 3, and 1 down 4 right 5: 3 and 5 would lie in the same cell
    with pytest.raises(InputError, match="tiles '3' and '5' lie in one place"):
        read("1,,2,,4", "2,1,,,3", "3,,,2,", "4,,5,1,", "5,4,,,")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,,,,0,0,1", "2,,1,,,1,0,0"], "put elsewhere"),  # an edge between two mosaics
        (["1,2,,,,0,0,2", "2,,1,,,0,0,0"], "put elsewhere"),  # an edge over a gap
        (["1,2,,,,0,0,1", "2,,1,,,,,"], "put elsewhere"),  # an edge to a tile without a place
        (["1,,,,,0,0,0", "2,,,,,0,0,0"], "tiles '1' and '2' lie in one place"),
        (["1,,,,,0,0.5,0"], "row '0.5' and column '0'; expected whole numbers"),
        (["1,,,,,0,,0"], "row '' and column '0'; expected whole numbers"),
        (["1,,,,,0,inf,0"], "row 'inf'"),
    ],
)
def test_places_that_contradict_the_edges_are_refused(
    read: Read, lines: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(*lines, header=f"{EDGES},mosaic,row,column")


@pytest.mark.parametrize(
    ("header", "column"),
    [("id,left,right,up", "down"), ("left,right,up,down", "id"), (f"{EDGES},mosaic,row", "column")],
)
def test_a_missing_column_is_named(read: Read, header: str, column: str) -> None:
    with pytest.raises(InputError, match=f"no column '{column}'"):
        read("," * header.count(","), header=header)

"""TileMaps spread over folds come back in the order asked for, or are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salt.errors import StoreError
from salt.files import write_array, write_csv
from salt.report.tile_maps import open_tile_maps, read_in_order

IDS = pd.Series(["a", "b", "c"])


def write_part(folder: Path, ids: list[str], values: list[float]) -> tuple[Path, Path]:
    """Write maps of one constant value each, and their table."""
    array, table = folder / "maps.npy", folder / "tiles.csv"
    write_array(array, np.array(values, np.float16)[:, None, None].repeat(2, 1).repeat(2, 2))
    write_csv(table, pd.DataFrame({"id": ids, "presence": values}))
    return array, table


def test_tiles_of_two_folds_are_read_in_the_order_of_the_ids(tmp_path: Path) -> None:
    parts = [
        write_part(tmp_path / "0", ["c", "a"], [0.25, 0.5]),
        write_part(tmp_path / "1", ["b"], [0.75]),
    ]
    maps = open_tile_maps(parts, IDS)
    assert len(maps) == 3
    assert maps.read(np.array([0, 1, 2]))[:, 0, 0].tolist() == [0.5, 0.75, 0.25]
    assert maps.read(np.array([2, 1])).shape == (2, 2, 2)
    assert maps.presence(np.array([2, 0])).tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (["a"], "'a' occurs more than once"),
        ([], "2 tiles without 'b'; expected exactly the 3 tiles"),
        (["b", "x"], "4 tiles with 'x', which the tile store has not"),
    ],
)
def test_ids_that_are_not_exactly_the_stores_are_refused(
    tmp_path: Path, second: list[str], message: str
) -> None:
    parts = [
        write_part(tmp_path / "0", ["c", "a"], [0.25, 0.5]),
        write_part(tmp_path / "1", second, [0.75] * len(second)),
    ]
    with pytest.raises(StoreError, match=message):
        open_tile_maps(parts, IDS)


def test_more_maps_than_table_rows_are_refused(tmp_path: Path) -> None:
    part = write_part(tmp_path, ["a", "b", "c"], [0.1, 0.2, 0.3])
    write_csv(part[1], pd.DataFrame({"id": ["a", "b"], "presence": 0.5}))
    with pytest.raises(StoreError, match=r"3 maps, but .* has 2 rows"):
        open_tile_maps([part], IDS)


def test_a_table_comes_back_in_the_order_of_the_ids(tmp_path: Path) -> None:
    write_csv(tmp_path / "scores.csv", pd.DataFrame({"id": ["c", "b", "a"], "score": [3, 2, 1]}))
    assert read_in_order(tmp_path / "scores.csv", IDS)["score"].tolist() == [1, 2, 3]

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salt.errors import StoreError
from salt.files import write_array, write_csv
from salt.maps import open_maps, open_probability


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("mean", "probability"):
        write_array(tmp_path / f"oof_{name}.npy", np.full((2, 3, 3), 0.25, np.float16))
    for name in ("entropy", "mutual_information"):
        write_array(tmp_path / f"oof_{name}.npy", np.full((2, 3, 3), 7, np.uint8))
    tiles = pd.DataFrame({"id": ["001", "nan"], "presence": [0.5, np.nan]})
    write_csv(tmp_path / "oof_tiles.csv", tiles)
    return tmp_path


@pytest.fixture(params=[open_maps, open_probability])
def opener(request):
    return request.param


def test_maps_come_with_their_ids_as_text(folder: Path) -> None:
    maps = open_maps(folder, "oof")
    assert maps.ids == ["001", "nan"]
    assert maps.mean.shape == maps.entropy.shape == maps.mutual_information.shape == (2, 3, 3)
    np.testing.assert_array_equal(maps.presence, np.array([0.5, np.nan], np.float32))


def test_probabilities_come_with_ids_and_presence(folder: Path) -> None:
    ids, probability, presence = open_probability(folder, "oof")
    assert ids == ["001", "nan"]
    assert probability.dtype == np.float16
    assert presence[0] == 0.5


def test_more_rows_than_maps_are_refused(folder: Path, opener) -> None:
    write_csv(folder / "oof_tiles.csv", pd.DataFrame({"id": list("abc"), "presence": 0.5}))
    with pytest.raises(StoreError, match=r"3 rows .* expected one map per unique id"):
        opener(folder, "oof")


def test_an_id_twice_is_refused(folder: Path, opener) -> None:
    write_csv(folder / "oof_tiles.csv", pd.DataFrame({"id": ["a", "a"], "presence": 0.5}))
    with pytest.raises(StoreError, match="unique id"):
        opener(folder, "oof")


def test_a_missing_part_is_named(folder: Path, opener) -> None:
    with pytest.raises(StoreError, match=r"test_tiles.csv: no such file"):
        opener(folder, "test")

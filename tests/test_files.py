"""Files: written whole or not at all, equal content is equal bytes, nothing is unpickled."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest

from salt.errors import StoreError
from salt.files import (
    new_array,
    read_array,
    read_csv,
    read_json,
    replacing,
    write_array,
    write_csv,
    write_json,
    write_text,
)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_folders_on_the_way_are_made(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "salt")
    assert (tmp_path / "a" / "b.txt").read_text() == "salt"


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert not leftovers(tmp_path)


def test_the_target_is_untouched_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_in_the_way_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(StoreError, match=r"a\.txt: could not be written .*expected a writable"):
        write_text(tmp_path / "a.txt", "salt")
    assert not leftovers(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error_that_names_the_file(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="could not be written"):
        write_text(tmp_path / "a.txt", "salt")


def test_json_has_sorted_keys_so_that_equal_content_is_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [0.1]})
    write_json(tmp_path / "b.json", {"a": [0.1], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": [0.1], "b": 1}


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_table_survives_a_round_trip_to_the_last_bit(tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "depth": [0.1 + 0.2, np.nan], "row": [0, 1]})
    write_csv(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv"), table, check_dtype=False)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"id,depth,row\na,0.30000000000000004,0\n")


@pytest.mark.parametrize("name", ["001", "nan", "NA", "1e5", "", "true"])
def test_an_id_stays_text(tmp_path, name):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"id": [name], "row": [0]}))
    assert list(read_csv(tmp_path / "a.csv")["id"]) == [name]


def test_an_array_survives_a_round_trip_and_is_read_only(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_array(tmp_path / "a.npy", array)
    mapped = read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(mapped, array)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


def test_an_array_filled_row_by_row_appears_when_complete(tmp_path):
    with new_array(tmp_path / "a.npy", (2, 3), np.float16) as rows:
        rows[0], rows[1] = 1, 2
        assert not (tmp_path / "a.npy").exists()
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), [[1, 1, 1], [2, 2, 2]])


def test_an_interrupted_array_never_appears(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_array(tmp_path / "a.npy", (2,), np.uint8):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reader", [read_json, read_csv, read_array])
def test_a_missing_file_is_named_with_what_to_do(tmp_path, reader):
    with pytest.raises(StoreError, match=r"absent: no such file.*Run `dvc repro`"):
        reader(tmp_path / "absent")


@pytest.mark.parametrize("reader", [read_json, read_array])
def test_a_malformed_file_is_named_with_what_to_do(tmp_path, reader):
    (tmp_path / "broken").write_text("{")
    with pytest.raises(StoreError, match=r"broken: cannot be read .*Delete it"):
        reader(tmp_path / "broken")


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="cannot be read"):
        read_array(tmp_path / "a.npy")


def test_a_pickle_is_not_unpickled(tmp_path):
    (tmp_path / "a.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(StoreError, match="cannot be read"):
        read_array(tmp_path / "a.npy")

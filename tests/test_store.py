"""The tile store: what is written opens again, and files that disagree are refused."""

import numpy as np
import pandas as pd
import pytest

from salt.errors import StoreError
from salt.files import write_array, write_csv
from salt.store import (
    COLUMNS,
    TEST,
    TILE_SIZE,
    TRAIN,
    coverage_class,
    is_vertical,
    open_store,
    write_store,
)

IDS = ["a", "b", "c", "t", "u"]  # three labelled, two not
LABELLED = 3


def table():
    return pd.DataFrame(
        {
            "id": IDS,
            "split": [TRAIN] * LABELLED + [TEST] * 2,
            "row": range(5),
            "depth": [100.0, np.nan, 250.5, 300.0, np.nan],
            "salt_fraction": [0.0, 0.5, 1.0, np.nan, np.nan],
            "coverage_class": [0, 5, 10, -1, -1],
            "is_constant": [False] * 5,
            "is_vertical": [False] * 5,
            "sha256": ["0f"] * 5,
        }
    )[COLUMNS]


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (5, TILE_SIZE, TILE_SIZE), dtype=np.uint8)
    masks = (images[:LABELLED] > 127).astype(np.uint8)
    write_store(tmp_path, table(), images, masks, np.zeros_like(masks), {"tiles": 5})
    return tmp_path


def test_a_written_store_opens_with_the_same_content(folder):
    store = open_store(folder)
    pd.testing.assert_frame_equal(store.table, table(), check_dtype=False)
    assert store.images.shape == (5, TILE_SIZE, TILE_SIZE)
    assert store.masks.shape == store.ignore.shape == (LABELLED, TILE_SIZE, TILE_SIZE)
    assert isinstance(store.images, np.memmap)


def test_labelled_and_unlabelled_tiles_are_told_apart(folder):
    store = open_store(folder)
    assert list(store.labelled["id"]) == ["a", "b", "c"]
    assert list(store.unlabelled["id"]) == ["t", "u"]


def test_rows_come_in_the_order_of_the_ids_asked_for(folder):
    assert list(open_store(folder).rows_of(["u", "a", "c"])) == [4, 0, 2]


def test_an_id_that_is_not_in_the_store_is_named(folder):
    with pytest.raises(StoreError, match=r"2 ids are not in the tile store \(first: 'x'\)"):
        open_store(folder).rows_of(["a", "x", "y"])


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "ignore.npy", "tiles.csv"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(StoreError, match=f"{name}: no such file"):
        open_store(folder)


def test_a_missing_column_is_named(folder):
    write_csv(folder / "tiles.csv", table().drop(columns="depth"))
    with pytest.raises(StoreError, match="no column 'depth'"):
        open_store(folder)


@pytest.mark.parametrize("name", ["images", "ignore"])
def test_an_array_of_another_length_is_refused(folder, name):
    array = np.load(folder / f"{name}.npy")
    write_array(folder / f"{name}.npy", array[:-1])
    with pytest.raises(StoreError, match="do not belong together"):
        open_store(folder)


def test_rows_out_of_order_are_refused(folder):
    write_csv(folder / "tiles.csv", table().iloc[::-1])
    with pytest.raises(StoreError, match="rows out of order"):
        open_store(folder)


def test_a_labelled_tile_behind_the_unlabelled_ones_is_refused(folder):
    mixed = table().assign(split=[TRAIN, TRAIN, TEST, TRAIN, TEST])
    write_csv(folder / "tiles.csv", mixed)
    with pytest.raises(StoreError, match="3 labelled tiles first"):
        open_store(folder)


def test_coverage_classes_are_tenths_with_empty_apart():
    fractions = np.array([0.0, 1e-4, 0.1, 0.11, 0.5, 0.91, 1.0])
    assert list(coverage_class(fractions)) == [0, 1, 1, 2, 5, 10, 10]


def vertical(rows, columns):
    mask = np.zeros((TILE_SIZE, TILE_SIZE), np.uint8)
    mask[rows, columns] = 1
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        vertical(slice(40, None), slice(10, 30)),  # from a row to the bottom
        vertical(slice(None, 40), slice(10, 30)),  # from the top
        vertical(slice(None), slice(50, None)),  # from a column to the edge, full height
        vertical(slice(40, None), [1, 2, 90]),  # several groups of columns below one row
    ],
)
def test_pure_columns_to_an_edge_are_vertical(mask):
    assert is_vertical(mask)


@pytest.mark.parametrize(
    "mask",
    [
        vertical(slice(0, 0), slice(0, 0)),  # empty
        vertical(slice(None), slice(None)),  # full
        vertical(slice(20, 40), slice(10, 30)),  # a block inside
        vertical(slice(100, None), slice(10, 30)),  # one row is no column
        np.tril(np.ones((TILE_SIZE, TILE_SIZE), np.uint8)),  # a slope
    ],
)
def test_other_masks_are_not_vertical(mask):
    assert not is_vertical(mask)

"""Tiles with depths, as training and inference see them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_tiles import epoch_of, numbered_tiles, some_augmentation
from tiny_project import give_depths, lay_in_rows_of_six

from salt.augment import Augmentation
from salt.dataset import LabelledTiles, open_images, open_stacks, ordered_batches
from salt.depth import TilesWithDepth, standardised
from salt.errors import StoreError
from salt.neighbours.margins import WidenedTiles

DEPTH = np.linspace(-1, 1, 10, dtype=np.float32)


@pytest.fixture
def tiles() -> LabelledTiles:
    return numbered_tiles()


def deep(tiles: LabelledTiles) -> LabelledTiles:
    """Return the same tiles with `DEPTH`."""
    return replace(tiles, images=TilesWithDepth(tiles.images, DEPTH))


def constants_of(images: torch.Tensor) -> list[float]:
    """Return the value of each image's last channel, which has one alone."""
    last = images[:, -1]
    assert (last == last[:, :1, :1]).all()
    return last[:, 0, 0].tolist()


def test_depths_get_mean_zero_and_deviation_one_and_tiles_without_count_as_mean() -> None:
    found = standardised(np.array([100.0, np.nan, 500.0, 100.0, 500.0]))
    assert found.tolist() == [-1, 0, 1, -1, 1]
    assert found.dtype == np.float32


def test_a_survey_of_one_depth_tells_nothing() -> None:
    assert standardised(np.array([250.0, np.nan, 250.0])).tolist() == [0, 0, 0]


def test_a_survey_without_any_depth_is_refused() -> None:
    with pytest.raises(StoreError, match=r"none of 3 tiles has a depth, .*depth_input: none\.$"):
        standardised(np.full(3, np.nan))


@pytest.mark.parametrize("augmentation", [None, some_augmentation()], ids=["plain", "augmented"])
def test_an_epoch_tells_each_tile_s_depth_and_is_the_same_otherwise(
    tiles: LabelledTiles, augmentation: Augmentation | None
) -> None:
    told = epoch_of(deep(tiles), augmentation=augmentation)
    for batch, plain in zip(told, epoch_of(tiles, augmentation=augmentation), strict=True):
        assert torch.equal(batch.images[:, :-1], plain.images)
        assert torch.equal(batch.masks, plain.masks) and batch.ids == plain.ids
        assert constants_of(batch.images) == [DEPTH[int(name)] for name in batch.ids]


def test_it_is_the_own_tile_s_depth_not_a_neighbour_s(tiles: LabelledTiles) -> None:
    stacks = np.array([[3, 4, 5], [9, 0, 1]])
    images = TilesWithDepth(tiles.images, DEPTH)
    (batch,) = ordered_batches(images, stacks, 8, 101)
    assert constants_of(batch) == [DEPTH[4], DEPTH[0]]


@pytest.mark.parametrize("padding", ["reflect", "edge", "zero"])
def test_predicted_tiles_come_in_order_and_their_depth_reaches_into_the_padding(
    tiles: LabelledTiles, padding: str
) -> None:
    images, plain = TilesWithDepth(tiles.images, DEPTH), tiles.images
    told = list(ordered_batches(images, tiles.stacks, 4, 128, padding))
    untold = ordered_batches(plain, tiles.stacks, 4, 128, padding)
    for batch, expected in zip(told, untold, strict=True):
        assert torch.equal(batch[:, :-1], expected)
    assert [depth for batch in told for depth in constants_of(batch)] == DEPTH.tolist()


def test_tiles_that_join_have_no_depth(tiles: LabelledTiles) -> None:
    both = deep(tiles).joined(tiles.subset(np.array([0, 1])))
    assert isinstance(both.images, TilesWithDepth)
    assert both.images.depth.tolist() == [*DEPTH.tolist(), *[0.0] * 10]
    assert both.images.depth.dtype == np.float32
    assert len(both.images) == 20 and both.images.shape == (20, 101, 101)


def test_depths_are_read_from_the_store(project: Path) -> None:
    store, _ = open_stacks(project / "data/ingest", project / "data/index", 3)
    with pytest.raises(StoreError, match="none of 30 tiles has a depth"):
        open_images(store, project / "data/index", "reflect", 128, "channel")
    give_depths(project)
    store, _ = open_stacks(project / "data/ingest", project / "data/index", 3)
    images = open_images(store, project / "data/index", "reflect", 128, "channel")
    assert isinstance(images, TilesWithDepth)
    np.testing.assert_array_equal(images.tiles, store.images)
    assert images.depth[0] == 0  # it has none
    assert (np.diff(images.depth[1:]) > 0).all()
    assert abs(images.depth[1:].mean()) < 1e-6
    plain = open_images(store, project / "data/index", "reflect", 128)
    assert isinstance(plain, np.ndarray)


def test_tiles_with_real_margins_keep_their_labels_and_get_a_depth(project: Path) -> None:
    lay_in_rows_of_six(project)
    give_depths(project)
    store, stacks = open_stacks(project / "data/ingest", project / "data/index", 3)
    told, plain = (
        LabelledTiles(
            open_images(store, project / "data/index", "neighbours", 128, depth_input),
            stacks[:24],
            np.asarray(store.masks),
            np.asarray(store.ignore),
            list(store.labelled["id"]),
        )
        for depth_input in ("inside", "none")
    )
    assert isinstance(told.images, TilesWithDepth) and isinstance(told.images.tiles, WidenedTiles)
    for one, other in zip(told.sample(7), plain.sample(7), strict=True):
        np.testing.assert_array_equal(one, other)
    (batch,) = epoch_of(told, batch_size=24)
    assert batch.images.shape == (24, 4, 128, 128)
    depth = dict(zip(told.ids, told.images.depth[:24].tolist(), strict=True))
    assert constants_of(batch.images) == [depth[name] for name in batch.ids]
    joined = told.joined(replace(plain, images=np.asarray(store.images)[:24]))
    assert isinstance(joined.images, TilesWithDepth) and len(joined.images.tiles) == 54

"""Tiles with real margins, as training and inference see them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_tiles import assert_same, epoch_of
from tiny_project import lay_in_rows_of_six

from salt.augment import Augmentation
from salt.dataset import LabelledTiles, open_images
from salt.errors import StoreError
from salt.files import read_csv, write_csv
from salt.neighbours.margins import WidenedTiles, surrounding_tiles
from salt.padding import crop, pad
from salt.store import open_store


def in_a_row(tiles: LabelledTiles) -> LabelledTiles:
    """Return the tiles with real margins for 128 pixels, side by side in one mosaic."""
    none = np.zeros(len(tiles.images), int)
    around = surrounding_tiles(none, none, np.arange(len(none)))
    return replace(tiles, images=WidenedTiles(tiles.images, around, (13, 14)))


def test_a_canvas_without_neighbours_is_the_reflected_tile(tiles: LabelledTiles) -> None:
    lone = WidenedTiles(np.asarray(tiles.images), _alone(10), (13, 14))
    canvases = epoch_of(replace(tiles, images=lone))
    for batch, canvas in zip(epoch_of(tiles), canvases, strict=True):
        assert torch.equal(pad(batch.images, 128), canvas.images)
        assert torch.equal(crop(canvas.masks, 101), batch.masks)
        assert torch.equal(crop(canvas.valid, 101), batch.valid)
        assert canvas.valid.sum() == batch.valid.sum()


def _alone(count: int) -> np.ndarray:
    return surrounding_tiles(np.arange(count), np.zeros(count, int), np.zeros(count, int))


def test_image_and_labels_of_a_canvas_are_augmented_together(
    tiles: LabelledTiles, augmentation: Augmentation
) -> None:
    shown = np.kron(tiles.masks[:, :10, :10], np.ones((11, 11), np.uint8))[:, :101, :101]
    wide = in_a_row(replace(tiles, images=200 * shown, masks=shown, ignore=0 * shown))
    for batch in epoch_of(wide, augmentation=augmentation):
        assert batch.images.shape[-1] == batch.masks.shape[-1] == 128
        for image, mask, valid in zip(batch.images[:, 1], batch.masks, batch.valid, strict=True):
            seen = valid[0] == 1
            bright, dark = (image[seen & (mask[0] == value)] for value in (1, 0))
            assert bright.mean() > dark.mean() + 3  # of 4.9 between them, blurred at edges


def test_labels_of_tiles_that_were_left_out_never_enter_a_canvas(tiles: LabelledTiles) -> None:
    wide = in_a_row(replace(tiles, ignore=0 * tiles.ignore))
    kept = np.array([0, 1, 3, 4, 6, 7])  # 2, 5, 8 and 9 are held out
    forged = wide.masks.copy()
    forged[[2, 5, 8, 9]] = 1 - forged[[2, 5, 8, 9]]
    honest, lying = (
        epoch_of(replace(wide, masks=masks).subset(kept), batch_size=6)
        for masks in (wide.masks, forged)
    )
    assert_same(honest, lying)
    (batch,) = honest
    for place, name in enumerate(batch.ids):
        row = int(name)
        left, right = batch.valid[place, 0, 13:114, :13], batch.valid[place, 0, 13:114, 114:]
        assert left.min() == left.max() == (row - 1 in kept)
        assert right.min() == right.max() == (row + 1 in kept)
        if row + 1 in kept:
            expected = wide.masks[row + 1][:, :14]
            np.testing.assert_array_equal(batch.masks[place, 0, 13:114, 114:], expected)


def test_every_channel_of_a_stack_has_the_margins_of_its_own_tile(tiles: LabelledTiles) -> None:
    wide = in_a_row(tiles)
    wide = replace(wide, stacks=np.stack([np.roll(np.arange(10), k) for k in (1, 0, -1)], axis=1))
    stack, _, _ = wide.sample(4)
    np.testing.assert_array_equal(stack, wide.images[np.array([3, 4, 5])])


def test_extra_tiles_have_reflected_margins_without_labels(tiles: LabelledTiles) -> None:
    extra = replace(tiles, ids=list("abcdefghij"), ignore=0 * tiles.ignore)
    stack, mask, ignore = in_a_row(tiles).joined(extra).sample(13)
    np.testing.assert_array_equal(
        stack, np.pad(tiles.images[[3] * 3], ((0, 0), (13, 14), (13, 14)), mode="reflect")
    )
    assert not ignore[13:114, 13:114].any()
    assert ignore.sum() == 128**2 - 101**2
    np.testing.assert_array_equal(mask[13:114, 13:114], tiles.masks[3])


@pytest.mark.parametrize("padding", ["reflect", "edge", "zero"])
def test_only_real_margins_need_to_know_where_tiles_lie(project: Path, padding: str) -> None:
    store = open_store(project / "data/ingest")
    images = open_images(store, project / "nowhere", padding, 128)
    np.testing.assert_array_equal(images, store.images)


def test_images_with_real_margins_come_from_the_mosaics(project: Path) -> None:
    lay_in_rows_of_six(project)
    store = open_store(project / "data/ingest")
    images = open_images(store, project / "data/index", "neighbours", 128)
    assert isinstance(images, WidenedTiles)
    assert images.around[7].tolist() == [[0, 1, 2], [6, 7, 8], [12, 13, 14]]
    assert images[np.array([7])].shape == (1, 128, 128)


@pytest.mark.parametrize("spoil", ["blank", "missing"])
def test_neighbours_without_places_are_refused(project: Path, spoil: str) -> None:
    path = project / "data/index/neighbours.csv"
    table = read_csv(path)
    if spoil == "blank":
        table["row"] = table["row"].astype(object)
        table.loc[3, "row"] = ""
    else:
        table = table.drop(columns="mosaic")
    write_csv(path, table)
    store = open_store(project / "data/ingest")
    with pytest.raises(StoreError, match="a tile without mosaic, row, column; expected a whole"):
        open_images(store, project / "data/index", "neighbours", 128)

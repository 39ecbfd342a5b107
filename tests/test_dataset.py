from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_tiles import assert_same, epoch_of, ids_of

from salt.augment import Augmentation, AugmentConfig
from salt.dataset import (
    GREY_MEAN,
    GREY_STD,
    EpochDataset,
    LabelledTiles,
    collate,
    labelled_tiles,
    normalise,
    open_stacks,
    ordered_batches,
    signed_distance,
)
from salt.padding import crop, pad


def test_a_stack_is_the_previous_the_own_and_the_next_tile(project: Path) -> None:
    _, stacks = open_stacks(project / "data/ingest", project / "data/index", width=3)
    # volumes of three inlines: the first has none before it, the last none behind
    assert stacks[:4].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2], [3, 3, 4]]
    assert stacks[-1].tolist() == [28, 29, 29]


def test_a_stack_of_width_one_is_the_tile_alone(project: Path) -> None:
    _, stacks = open_stacks(project / "data/ingest", project / "data/index", width=1)
    assert stacks.tolist() == [[row] for row in range(30)]


def test_labelled_tiles_leave_the_test_tiles_to_the_stacks(project: Path) -> None:
    store, stacks = open_stacks(project / "data/ingest", project / "data/index", width=3)
    tiles = labelled_tiles(store, stacks)
    assert len(tiles) == len(tiles.masks) == len(tiles.ids) == 24
    assert len(tiles.images) == 30
    subset = tiles.subset(np.array([5, 2]))
    assert subset.ids == ["a05", "a02"]
    np.testing.assert_array_equal(subset.masks[1], store.masks[2])
    assert subset.stacks.tolist() == stacks[[5, 2]].tolist()


def test_normalised_grey_is_centred_on_that_of_the_tgs_tiles() -> None:
    normal = normalise(np.array([[0, 255]], np.uint8))
    assert normal.tolist()[0] == pytest.approx([-GREY_MEAN / GREY_STD, (1 - GREY_MEAN) / GREY_STD])


def test_the_signed_distance_of_a_stripe_is_the_one_by_hand() -> None:
    mask = np.zeros((5, 5), np.uint8)
    mask[:, :2] = 1
    # inside, the pixel at the boundary is at 0; outside, the first one at 1
    expected = np.tile(np.array([-1, 0, 1, 2, 3]) / 101, (5, 1))
    np.testing.assert_allclose(signed_distance(mask, np.zeros_like(mask)), expected, rtol=1e-6)


def test_the_signed_distance_of_one_pixel_is_euclidean() -> None:
    mask = np.zeros((3, 3), np.uint8)
    mask[0, 0] = 1
    expected = np.array([[0, 1, 2], [1, 2**0.5, 5**0.5], [2, 5**0.5, 8**0.5]]) / 101
    np.testing.assert_allclose(signed_distance(mask, np.zeros_like(mask)), expected, rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_a_tile_of_one_class_has_no_distance(value: int) -> None:
    mask = np.full((4, 4), value, np.uint8)
    assert not signed_distance(mask, np.zeros_like(mask)).any()
    mask[1, 1], ignore = 1 - value, np.zeros_like(mask)
    ignore[1, 1] = 1  # the only pixel of the other class is not known
    assert not signed_distance(mask, ignore).any()


def test_no_distance_is_measured_from_ignored_pixels() -> None:
    mask = np.array([[1, 1, 0, 0, 1, 0]], np.uint8)
    ignore = np.array([[0, 0, 1, 0, 1, 0]], np.uint8)
    distance = signed_distance(mask, ignore) * 101
    # the nearest rock of the second pixel is the fourth; the nearest salt of the last the second
    np.testing.assert_allclose(distance[ignore == 0], [-2, -1, 2, 4], rtol=1e-6)


def test_an_epoch_shows_every_tile_once_in_another_order_each_time(tiles: LabelledTiles) -> None:
    first, second = (ids_of(epoch_of(tiles, epoch, batch_size=5)) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == sorted(tiles.ids)
    assert first != second


def test_the_last_incomplete_batch_is_left_out(tiles: LabelledTiles) -> None:
    assert [len(batch.ids) for batch in epoch_of(tiles, batch_size=4)] == [4, 4]


def test_fewer_tiles_than_a_batch_are_one_smaller_batch(tiles: LabelledTiles) -> None:
    assert [len(batch.ids) for batch in epoch_of(tiles, batch_size=32)] == [10]


def test_a_batch_holds_each_tiles_image_mask_and_valid_pixels(tiles: LabelledTiles) -> None:
    for batch in epoch_of(tiles):
        rows = [int(name) for name in batch.ids]
        assert batch.images.shape == (4, 3, 101, 101)
        torch.testing.assert_close(batch.images, normalise(tiles.images[tiles.stacks[rows]]))
        np.testing.assert_array_equal(batch.masks[:, 0].numpy(), tiles.masks[rows])
        np.testing.assert_array_equal(batch.valid[:, 0].numpy(), 1 - tiles.ignore[rows])
        assert not batch.distance.any()


def test_distances_are_those_of_the_augmented_masks(
    tiles: LabelledTiles, augmentation: Augmentation
) -> None:
    for batch in epoch_of(tiles, augmentation=augmentation, distances=True):
        pairs = zip(batch.masks[:, 0].numpy(), 1 - batch.valid[:, 0].numpy(), strict=True)
        expected = np.stack([signed_distance(mask, ignore) for mask, ignore in pairs])
        np.testing.assert_array_equal(batch.distance[:, 0].numpy(), expected)
        assert expected.any()


def test_an_epoch_repeats_itself_and_other_seeds_and_epochs_differ(
    tiles: LabelledTiles, augmentation: Augmentation
) -> None:
    first = epoch_of(tiles, epoch=3, augmentation=augmentation)
    epoch_of(tiles, epoch=0, augmentation=augmentation)  # leaves no trace
    assert_same(first, epoch_of(tiles, epoch=3, augmentation=augmentation))
    for changes in ({"epoch": 4}, {"epoch": 3, "seed": 2}):
        other = epoch_of(tiles, augmentation=augmentation, **changes)
        assert not torch.equal(first[0].images, other[0].images)


def test_worker_processes_change_neither_the_batches_nor_torchs_random_stream(
    tiles: LabelledTiles, augmentation: Augmentation
) -> None:
    epochs, after = [], []
    for workers in (0, 2):
        torch.manual_seed(0)
        epochs.append(epoch_of(tiles, augmentation=augmentation, workers=workers))
        after.append(torch.rand(1).item())
    assert_same(*epochs)
    assert after[0] == after[1]


def test_a_samples_augmentation_does_not_depend_on_what_was_asked_before(
    tiles: LabelledTiles, augmentation: Augmentation
) -> None:
    dataset = EpochDataset(tiles, np.arange(10), list(range(10)), augmentation, distances=False)
    forward = [dataset[position] for position in range(10)]
    backward = [dataset[position] for position in reversed(range(10))][::-1]
    assert_same([collate(forward)], [collate(backward)])


@pytest.mark.parametrize("along_section", [True, False])
def test_a_flip_turns_stacks_around_that_lie_along_the_section(
    tiles: LabelledTiles, along_section: bool
) -> None:
    rows = np.arange(10)
    stacks = np.stack([rows - 1, rows, rows + 1], axis=1)[1:-1]
    kept = tiles.subset(rows[1:-1])
    line = replace(kept, stacks=stacks, along_section=along_section)
    flip = Augmentation(AugmentConfig(1.0, *6 * [0.0]))
    more = tiles.subset(rows[:1])
    for seen in (line, line.subset(rows[:4]), line.joined(more).subset(rows[:4])):
        for batch in epoch_of(seen, augmentation=flip):
            own = [int(name) for name in batch.ids]
            order = [1, 0, -1] if along_section else [-1, 0, 1]
            greys = 10 * (np.array(own)[:, None] + order).astype(np.uint8)
            torch.testing.assert_close(batch.images[..., 0, 0], normalise(greys))
            np.testing.assert_array_equal(batch.masks[:, 0].numpy(), tiles.masks[own][..., ::-1])


def test_extra_tiles_join_an_epoch_and_are_drawn_anew_for_the_next(tiles: LabelledTiles) -> None:
    extra = LabelledTiles(
        tiles.images[::-1], tiles.stacks, tiles.masks, tiles.ignore, list("abcdefghij")
    )
    epochs = [
        ids_of(epoch_of(tiles.joined(extra), epoch, batch_size=13, extra=10, extra_drawn=3))
        for epoch in range(3)
    ]
    drawn = [{name for name in names if name.isalpha()} for names in epochs]
    assert [len(names) for names in drawn] == [3, 3, 3]
    assert all(set(tiles.ids) < set(names) for names in epochs)
    assert drawn[0] != drawn[1] or drawn[1] != drawn[2]


def test_an_extra_tile_comes_with_its_own_image(tiles: LabelledTiles) -> None:
    extra = LabelledTiles(
        tiles.images + 1, tiles.stacks, tiles.masks, tiles.ignore, list("abcdefghij")
    )
    (batch,) = epoch_of(tiles.joined(extra), batch_size=14, extra=10, extra_drawn=4)
    for name, image in zip(batch.ids, batch.images, strict=True):
        grey = 10 * "abcdefghij".index(name) + 1 if name.isalpha() else 10 * int(name)
        torch.testing.assert_close(image, normalise(np.full((3, 101, 101), grey, np.uint8)))


def test_more_extra_tiles_than_there_are_repeat_some(tiles: LabelledTiles) -> None:
    extra = tiles.subset(np.array([0, 1]))
    (batch,) = epoch_of(tiles.joined(extra), batch_size=15, extra=2, extra_drawn=5)
    assert len(batch.ids) == 15


def test_joining_no_tiles_changes_nothing(tiles: LabelledTiles) -> None:
    none = tiles.subset(np.array([], int))
    assert_same(epoch_of(tiles), epoch_of(tiles.joined(none)))


def test_ordered_batches_are_the_padded_stacks_in_order(tiles: LabelledTiles) -> None:
    batches = list(ordered_batches(tiles.images, tiles.stacks, batch_size=4, input_size=128))
    assert [tuple(batch.shape) for batch in batches] == [(n, 3, 128, 128) for n in (4, 4, 2)]
    expected = normalise(tiles.images[tiles.stacks])
    assert torch.equal(crop(torch.cat(batches), 101), expected)


@pytest.mark.parametrize("padding", ["reflect", "edge", "zero"])
def test_ordered_batches_are_padded_as_they_are_told(tiles: LabelledTiles, padding: str) -> None:
    (batch,) = ordered_batches(tiles.images, tiles.stacks, 10, 128, padding)
    assert torch.equal(batch, pad(normalise(tiles.images[tiles.stacks]), 128, padding))

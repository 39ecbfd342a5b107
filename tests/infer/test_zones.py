"""Components and holes of all thresholds at once, against masks cleaned one by one."""

import numpy as np
import pytest
from skimage.morphology import area_closing, area_opening

from salt.infer.shapes import clean_masks
from salt.infer.zones import clean_zones, find_zones

SIZES, HOLES = np.array([0, 1, 2, 5, 40]), np.array([0, 1, 4, 30])


def cleaned_maps(levels: np.ndarray, sizes: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return maps [C, F, n, H, W]."""
    zones = find_zones(levels)
    return clean_zones(zones, sizes, holes)[:, :, zones.of_pixel]


def maps(kind: str) -> np.ndarray:
    draw = np.random.default_rng(3)
    if kind == "wide":  # more levels than a byte holds
        return draw.integers(0, 300, (3, 15, 15)).astype(np.uint16)
    levels = draw.integers(0, 6, (6, 17, 13))
    levels[0], levels[1] = 0, 5  # all empty, all salt
    levels[2, :9] = 0  # salt below alone
    levels[3] = np.where(draw.random((17, 13)) < 0.1, 5, 2)
    return levels.astype(np.uint8)


@pytest.mark.parametrize("kind", ["few", "wide"])
def test_a_cleaned_map_thresholds_to_the_cleaned_masks_of_the_map(kind: str) -> None:
    levels = maps(kind)
    cleaned = cleaned_maps(levels, SIZES, HOLES)
    assert cleaned.shape == (len(SIZES), len(HOLES), *levels.shape)
    for cut in range(1, levels.max() + 1, 1 if kind == "few" else 60):
        for size, holes in np.ndindex(len(SIZES), len(HOLES)):
            expected = clean_masks(levels >= cut, SIZES[size], HOLES[holes])
            assert ((cleaned[size, holes] >= cut) == expected).all(), (cut, size, holes)


@pytest.mark.parametrize("size", [3, 20])
def test_maps_are_opened_and_closed_as_scikit_image_does(size: int) -> None:
    levels = np.random.default_rng(4).integers(0, 9, (4, 30, 30)).astype(np.uint8)
    levels[:, 10:20, 5:25] = 6  # a large zone among specks
    cleaned = cleaned_maps(levels, np.array([0, size]), np.array([0, size]))
    for tile, level in enumerate(levels):
        opened = area_opening(level, size, connectivity=1)
        np.testing.assert_array_equal(cleaned[1, 0, tile], opened)
        np.testing.assert_array_equal(cleaned[0, 1, tile], area_closing(level, size + 1, 1))
        np.testing.assert_array_equal(cleaned[1, 1, tile], area_closing(opened, size + 1, 1))


@pytest.mark.parametrize("level", [0, 7])
def test_a_map_of_one_level_is_one_zone_that_only_its_whole_area_can_change(level: int) -> None:
    levels = np.full((1, 5, 4), level, np.uint8)
    assert len(find_zones(levels).levels) == 1
    cleaned = cleaned_maps(levels, np.array([0, 20, 21]), np.array([0, 19]))
    assert (cleaned[:2] == level).all()
    assert not cleaned[2].any()


def test_zones_end_at_the_tile_and_know_their_pixels() -> None:
    zones = find_zones(np.array([[[1, 1], [0, 1]], [[1, 1], [1, 0]], [[1, 1], [1, 1]]], np.uint8))
    assert sorted(zip(zones.tile, zones.levels, zones.areas, strict=True)) == [
        (0, 0, 1),
        (0, 1, 3),
        (1, 0, 1),
        (1, 1, 3),
        (2, 1, 4),
    ]
    assert {frozenset(pair) for pair in zones.pairs.T.tolist()} == {
        frozenset(np.flatnonzero(zones.tile == tile).tolist()) for tile in (0, 1)
    }


def test_a_long_winding_body_is_one_component() -> None:
    levels = np.zeros((1, 21, 21), np.uint8)
    levels[0, ::2] = 1 + np.arange(21) % 3  # bars, each of many zones ...
    levels[0, 1::4, -1], levels[0, 3::4, 0] = 2, 1  # ... joined at alternate ends
    area = int((levels > 0).sum())
    kept, gone = cleaned_maps(levels, np.array([area, area + 1]), np.array([0]))[:, 0]
    assert ((kept > 0) == (levels > 0)).all()
    assert not gone.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2), (5, 2)])
def test_a_body_stays_up_to_its_size(shape: tuple[int, int]) -> None:
    levels = np.zeros((1, 9, 9), np.uint16)
    levels[0, 2 : 2 + shape[0], 3 : 3 + shape[1]] = 7
    area = shape[0] * shape[1]
    kept, removed = cleaned_maps(levels, np.array([area, area + 1]), np.array([0]))[:, 0]
    np.testing.assert_array_equal(kept, levels)
    assert not removed.any()

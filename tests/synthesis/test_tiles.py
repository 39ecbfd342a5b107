"""The synthesize stage's library call: matched amplitudes, repeatable stores."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from salt.errors import InputError
from salt.files import read_csv
from salt.store import open_store
from salt.synthesis.tiles import match_amplitudes, synthesize


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """Five textured tiles of different grey levels and a constant one."""
    rng = np.random.default_rng(0)
    levels = np.array([60, 90, 120, 150, 180])[:, None, None]
    tiles = np.clip(rng.normal(levels, 25, (5, 101, 101)), 0, 255).astype(np.uint8)
    return np.concatenate([np.zeros((1, 101, 101), np.uint8), tiles])


@pytest.fixture(scope="module")
def synthetic(reference: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    synthesize(reference, folder, tiles=20, seed=5)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_rerun_in_another_folder_gives_the_same_bytes(
    reference: np.ndarray, synthetic: Path, tmp_path: Path
) -> None:
    synthesize(reference, tmp_path / "elsewhere", tiles=20, seed=5)
    assert digests(tmp_path / "elsewhere") == digests(synthetic)


def test_each_tile_has_the_same_seed_however_many_are_made(
    reference: np.ndarray, synthetic: Path, tmp_path: Path
) -> None:
    synthesize(reference, tmp_path, tiles=3, seed=5)
    few, many = (read_csv(folder / "provenance.csv")["seed"] for folder in (tmp_path, synthetic))
    assert few.tolist() == many[:3].tolist()


def test_the_store_is_labelled_and_about_38_percent_is_empty(synthetic: Path) -> None:
    store = open_store(synthetic)
    assert len(store.masks) == len(store.table) == 20
    assert store.table["id"].tolist() == [f"syn_{index:05d}" for index in range(20)]
    assert store.table["depth"].isna().all()
    assert abs(int((store.table["salt_fraction"] == 0).sum()) - 8) <= 1
    assert np.allclose(store.table["salt_fraction"], store.masks.mean(axis=(1, 2)))


def test_each_tile_has_the_grey_levels_of_its_reference(
    reference: np.ndarray, synthetic: Path
) -> None:
    store = open_store(synthetic)
    rows = read_csv(synthetic / "provenance.csv")["reference_row"]
    assert 0 not in set(rows)  # the constant tile
    for image, row in zip(store.images, rows, strict=True):
        assert abs(float(image.mean()) - float(reference[row].mean())) < 2


def test_provenance_has_a_row_with_parameters_for_each_tile(synthetic: Path) -> None:
    provenance = read_csv(synthetic / "provenance.csv")
    assert provenance["id"].tolist() == open_store(synthetic).table["id"].tolist()
    assert {"seed", "bodies", "wavelength", "noise"} <= set(provenance.columns)
    assert provenance["seed"].is_unique


def test_no_tiles_make_a_valid_empty_store(reference: np.ndarray, tmp_path: Path) -> None:
    synthesize(reference, tmp_path, tiles=0, seed=5)
    store = open_store(tmp_path)
    assert store.images.shape == (0, 101, 101) and len(store.table) == 0
    assert len(read_csv(tmp_path / "provenance.csv")) == 0


def test_references_without_amplitudes_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    flat = np.zeros((3, 101, 101), np.uint8)
    with pytest.raises(InputError, match=r"3 reference tiles .* expected .* synthesize\.tiles"):
        synthesize(flat, tmp_path / "out", tiles=2, seed=0)
    assert not (tmp_path / "out").exists()


def test_matching_keeps_the_order_of_amplitudes() -> None:
    rng = np.random.default_rng(1)
    tile = rng.integers(0, 256, (101, 101)).astype(np.uint8)
    target = rng.normal(100, 20, (101, 101)).clip(0, 255).astype(np.uint8)
    matched = match_amplitudes(tile, target)
    order = np.argsort(tile.ravel(), kind="stable")
    assert (np.diff(matched.ravel()[order].astype(int)) >= 0).all()


def test_matching_restores_a_contrast_that_was_reduced() -> None:
    tile = np.random.default_rng(2).normal(120, 30, (101, 101)).clip(30, 210).astype(np.uint8)
    dimmed = (tile // 2 + 20).astype(np.uint8)
    assert np.abs(match_amplitudes(dimmed, tile).astype(int) - tile).mean() < 1

"""The index of a small store, end to end."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pictures import cut, draw_section, gained

from salt.errors import InputError, StoreError
from salt.files import read_csv, read_json
from salt.neighbours.index import index_tiles
from salt.sources.ingest import keep_neighbours
from salt.stacks import lie_along_section, read_neighbours
from salt.store import COLUMNS, TEST, TILE_SIZE, TRAIN, coverage_class, write_store

VOLUMES, INLINES, ROWS, TILE_COLUMNS = 4, 2, 1, 3
ARGUMENTS: dict[str, Any] = {"folds": [0, 1], "scheme": "section", "stack": "volume", "seed": 3}


def _write_survey(folder: Path, geometry: bool = True) -> None:
    """Write sections of 1 x 3 tiles, two inlines a volume; the last volume is unlabelled."""
    draw = np.random.default_rng(0)
    tiles, places = [], []
    for volume, inline in np.ndindex(VOLUMES, INLINES):
        section = draw_section(draw, ROWS * TILE_SIZE, TILE_COLUMNS * TILE_SIZE)
        cuts, where = cut(section, (TILE_SIZE, TILE_SIZE))
        tiles.append(cuts)
        places += [(volume, inline, column, row) for _, column, row in where]
    images = gained(np.concatenate(tiles), draw)
    count, labelled = len(images), len(images) * (VOLUMES - 1) // VOLUMES
    order = np.concatenate([draw.permutation(labelled), np.arange(labelled, count)])
    masks = (np.arange(TILE_SIZE)[:, None] < draw.integers(0, TILE_SIZE, (labelled, 1, 1))) & True
    masks = np.broadcast_to(masks, (labelled, TILE_SIZE, TILE_SIZE)).astype(np.uint8)
    table = pd.DataFrame({"id": [f"t{row:03d}" for row in range(count)], "row": range(count)})
    table = table.reindex(columns=COLUMNS)
    table["split"] = np.where(np.arange(count) < labelled, TRAIN, TEST)
    table["depth"] = np.arange(count) * 10.0
    fraction = np.append(masks.mean(axis=(1, 2)), np.full(count - labelled, np.nan))
    table["salt_fraction"] = fraction
    table["coverage_class"] = np.where(
        np.isnan(fraction), -1, coverage_class(np.nan_to_num(fraction))
    )
    table["is_constant"] = table["is_vertical"] = False
    if geometry:
        table[["volume", "inline", "crossline", "sample"]] = np.array(places)[order]
    write_store(folder, table, images[order], masks, np.zeros_like(masks), {"tiles": count})


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexed")
    _write_survey(folder / "ingest")
    index_tiles(folder / "ingest", folder / "index", **ARGUMENTS)
    return folder


def test_every_tile_has_its_true_neighbours(indexed: Path) -> None:
    tiles = read_csv(indexed / "ingest/tiles.csv")
    neighbours = read_csv(
        indexed / "index/neighbours.csv", ("id", "left", "right", "up", "down", "previous", "next")
    )
    assert list(neighbours) == (
        ["id", "left", "right", "up", "down", "mosaic", "row", "column", "previous", "next"]
    )
    assert list(neighbours["id"]) == list(tiles["id"])
    names = ["volume", "inline", "crossline", "sample"]
    id_at = {tuple(place): name for name, *place in tiles[["id", *names]].to_numpy().tolist()}
    steps = {
        "left": (0, 0, -1, 0),
        "right": (0, 0, 1, 0),
        "up": (0, 0, 0, -1),
        "down": (0, 0, 0, 1),
        "previous": (0, -1, 0, 0),
        "next": (0, 1, 0, 0),
    }
    for side, step in steps.items():
        places = (tiles[names].to_numpy() + step).tolist()
        assert list(neighbours[side]) == [id_at.get(tuple(place), "") for place in places], side
    assert list(neighbours["column"]) == list(tiles["crossline"])


def test_no_volume_is_split_between_folds(indexed: Path) -> None:
    tiles, folds = read_csv(indexed / "ingest/tiles.csv"), read_csv(indexed / "index/folds.csv")
    labelled = tiles[tiles["split"] == TRAIN]
    assert list(folds["id"]) == list(labelled["id"])
    assert set(folds["fold"]) == {0, 1}
    assert (folds["fold"].groupby(labelled["volume"]).nunique() == 1).all()


def test_the_summary_shows_the_leak_as_a_number(indexed: Path) -> None:
    summary = read_json(indexed / "index/summary.json")
    assert summary["edges"] == VOLUMES * INLINES * 2
    assert summary["sections"] == VOLUMES * INLINES
    assert summary["largest_section"] == 3
    assert summary["tiles_in_sections"] == summary["tiles"] == 24
    assert summary["jigsaw"]["precision"] == summary["jigsaw"]["recall"] == 1
    assert summary["tiles_without_previous"] == summary["tiles_without_next"] == 12
    separated = summary["folds"]["separated_pairs"]
    assert separated["section"] == {"seams": 0, "inlines": 0}
    assert separated["random"]["seams"] > 0
    assert separated["random"]["inlines"] > 0
    sizes = {fold: facts["tiles"] for fold, facts in summary["folds"]["per_fold"].items()}
    assert sorted(sizes.values()) == [6, 12]  # three volumes of six tiles
    assert sizes["0"] == summary["folds"]["balance"]["section"]["tiles"][0]
    by_class = [facts["tiles_by_coverage_class"] for facts in summary["folds"]["per_fold"].values()]
    assert sum(map(sum, by_class)) == 18


def test_the_summary_compares_all_schemes_of_folds(indexed: Path) -> None:
    folds = read_json(indexed / "index/summary.json")["folds"]
    assert set(folds["separated_pairs"]) == set(folds["balance"]) == {"section", "depth", "random"}
    # of 18 labelled tiles in six rows of three, on two inlines of three volumes
    assert folds["pairs"] == {"seams": 12, "inlines": 9}
    for name in ("depth", "random"):
        assert 0 < folds["separated_pairs"][name]["seams"] <= 12
        assert folds["balance"][name]["tiles"] == [9, 9]
    for facts in folds["balance"].values():
        assert 0 <= facts["class_imbalance"] <= 1
        assert len(facts["without_salt"]) == 2


def test_the_depth_scheme_spreads_every_depth(indexed: Path, tmp_path: Path) -> None:
    index_tiles(indexed / "ingest", tmp_path, **(ARGUMENTS | {"scheme": "depth"}))
    folds = read_csv(tmp_path / "folds.csv")
    # depth grows with the row, and a bin holds one or two tiles
    assert np.bincount(folds["fold"]).tolist() == [9, 9]
    assert np.abs(np.cumsum(2 * folds["fold"] - 1)).max() <= 2


def test_sections_give_the_stack_its_left_and_right_neighbours(
    indexed: Path, tmp_path: Path
) -> None:
    summary = index_tiles(indexed / "ingest", tmp_path, **(ARGUMENTS | {"stack": "section"}))
    neighbours = read_neighbours(tmp_path)
    assert list(neighbours["previous"]) == list(neighbours["left"])
    assert list(neighbours["next"]) == list(neighbours["right"])
    assert summary["tiles_without_previous"] == VOLUMES * INLINES
    assert lie_along_section(neighbours)
    assert not lie_along_section(read_neighbours(indexed / "index"))  # by volume


def test_the_index_is_the_same_byte_for_byte_in_another_folder(
    indexed: Path, tmp_path: Path
) -> None:
    index_tiles(indexed / "ingest", tmp_path, **ARGUMENTS)
    for name in ("neighbours.csv", "folds.csv", "summary.json"):
        assert (tmp_path / name).read_bytes() == (indexed / "index" / name).read_bytes()


def test_given_neighbours_take_the_place_of_those_found(indexed: Path, tmp_path: Path) -> None:
    shutil.copytree(indexed / "ingest", tmp_path / "ingest")
    first, second, *_ = read_csv(indexed / "ingest/tiles.csv")["id"]
    text = f"id,left,right,up,down\n{first},,,,{second}\n{second},,,{first},\n"
    (tmp_path / "ingest/neighbours.csv").write_text(text)
    given = ARGUMENTS | {"neighbours": "given"}
    summary = index_tiles(tmp_path / "ingest", tmp_path / "index", **given)
    assert (summary["edges"], summary["sections"], summary["tiles_in_sections"]) == (1, 1, 2)
    written = read_csv(tmp_path / "index/neighbours.csv", ("id", "up", "down"))
    assert written["down"].tolist()[:2] == [second, ""]
    assert written["row"].tolist()[:3] == [0, 1, 0]


def test_a_given_table_without_rows_says_where_it_goes(indexed: Path, tmp_path: Path) -> None:
    shutil.copytree(indexed / "ingest", tmp_path / "ingest")
    keep_neighbours(tmp_path / "nothing here", tmp_path / "ingest")
    with pytest.raises(
        InputError, match=r"no rows; .* Put neighbours.csv into the folder data.raw"
    ):
        given = ARGUMENTS | {"neighbours": "given"}
        index_tiles(tmp_path / "ingest", tmp_path / "index", **given)
    assert not (tmp_path / "index").exists()


def test_the_random_scheme_splits_sections(indexed: Path, tmp_path: Path) -> None:
    index_tiles(indexed / "ingest", tmp_path, **(ARGUMENTS | {"scheme": "random"}))
    folds = read_csv(tmp_path / "folds.csv")
    assert (folds["fold"].groupby(folds["group"]).nunique() == 2).any()
    assert np.bincount(folds["fold"]).tolist() == [9, 9]


def test_random_folds_may_outnumber_the_sections(indexed: Path, tmp_path: Path) -> None:
    many = ARGUMENTS | {"folds": [0, 1, 2, 3], "scheme": "random"}
    summary = index_tiles(indexed / "ingest", tmp_path, **many)
    assert set(summary["folds"]["separated_pairs"]) == {"depth", "random"}


def test_more_folds_than_sections_are_refused_and_nothing_is_written(
    indexed: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="4 folds of 3 groups"):
        index_tiles(indexed / "ingest", tmp_path, **(ARGUMENTS | {"folds": [0, 1, 2, 3]}))
    assert not list(tmp_path.iterdir())


def test_a_store_without_geometry_stacks_by_depth_only(tmp_path: Path) -> None:
    _write_survey(tmp_path / "ingest", geometry=False)
    with pytest.raises(StoreError, match="stack is volume"):
        index_tiles(tmp_path / "ingest", tmp_path / "index", **ARGUMENTS)
    summary = index_tiles(
        tmp_path / "ingest", tmp_path / "index", **(ARGUMENTS | {"stack": "depth"})
    )
    assert summary["tiles_without_previous"] == 1
    assert not lie_along_section(read_neighbours(tmp_path / "index"))
    assert "jigsaw" not in summary
    assert set(summary["folds"]["separated_pairs"]["random"]) == {"seams"}

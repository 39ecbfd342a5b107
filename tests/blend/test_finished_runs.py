"""Finished runs are taken together only if they are of the same tiles and folds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated_runs import edit_table, folds_of, write_run

from salt.blend.runs import open_run, open_runs
from salt.errors import StoreError
from salt.files import read_array, write_array, write_json
from salt.store import TileStore, open_store


@pytest.fixture
def store(project: Path) -> TileStore:
    return open_store(project / "data/ingest")


@pytest.fixture
def folders(tmp_path: Path, store: TileStore) -> list[Path]:
    return [write_run(tmp_path / f"run{seed}", store, seed) for seed in range(3)]


def refusal(folders: list[Path], store: TileStore) -> str:
    with pytest.raises(StoreError) as refused:
        open_runs(folders, store)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_runs_on_the_same_tiles_and_folds_are_opened_without_reading_their_maps(
    folders: list[Path], store: TileStore
) -> None:
    runs = open_runs(folders, store)
    assert [run.folder for run in runs] == folders
    for run in runs:
        assert isinstance(run.by_decision, np.memmap) and isinstance(run.test, np.memmap)
        assert run.decision_of == {0: 0, 1: 0, None: 0}
        assert run.folds.tolist() == folds_of(store).tolist()


def test_a_single_run_is_no_blend(folders: list[Path], store: TileStore) -> None:
    assert "expected two or more" in refusal(folders[:1], store)


def test_a_run_counts_once(folders: list[Path], store: TileStore, tmp_path: Path) -> None:
    roundabout = tmp_path / "run1/../run0"
    assert "the same folder as" in refusal([folders[0], folders[1], roundabout], store)
    copy = Path(shutil.copytree(folders[0], tmp_path / "copy"))
    assert f"{copy}: the same maps as {folders[0]}" in refusal([*folders, copy], store)


@pytest.mark.parametrize("part", ["oof", "test"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[2:], "2 tiles missing, the first '[ab]00'"),
        (lambda table: table.replace(r"[ab]00", "c", regex=True), "1 tiles missing"),
        (lambda table: pd.concat([table, table[:1].assign(id="c")]), "1 other tiles, .* 'c'"),
        (lambda table: table[::-1], "in another order"),
        (lambda table: table.drop(columns="presence"), "no column 'presence'"),
    ],
)
def test_tiles_must_be_those_of_the_store_in_its_order(
    folders: list[Path], store: TileStore, part: str, change: Callable, message: str
) -> None:
    edit_table(folders[1] / f"{part}_tiles.csv", change)
    with pytest.raises(StoreError, match=rf"run1/{part}_tiles.csv: .*{message}"):
        open_runs(folders, store)


def test_other_folds_are_refused_because_networks_would_have_seen_the_tiles(
    folders: list[Path], store: TileStore
) -> None:
    edit_table(folders[2] / "oof_tiles.csv", lambda t: t.assign(fold=1 - t["fold"]))
    message = refusal(folders, store)
    assert "run2: 24 tiles are in other folds than in" in message
    assert "saw it in training" in message


def test_maps_must_fit_their_tables(folders: list[Path], store: TileStore) -> None:
    maps = read_array(folders[0] / "test_probability.npy")[:-1]
    write_array(folders[0] / "test_probability.npy", np.array(maps))
    assert "float16 (5, 101, 101); expected float16 (6, 101, 101)" in refusal(folders, store)


def test_a_run_of_older_code_has_to_be_joined_again(folders: list[Path], store: TileStore) -> None:
    write_json(folders[0] / "summary.json", {"decision_of": {"0": 0, "test": 0}})
    assert "decision_of lacks 1; expected each fold" in refusal(folders, store)
    write_json(folders[0] / "summary.json", {"decision_of": {"0": 0, "1": 0}})
    assert "decision_of lacks test; expected each fold" in refusal(folders, store)
    write_json(folders[0] / "summary.json", {})
    assert "no decision_of" in refusal(folders, store)
    (folders[1] / "oof_by_decision.npy").unlink()
    with pytest.raises(StoreError, match=r"oof_by_decision.npy: no such file"):
        open_run(folders[1], store)

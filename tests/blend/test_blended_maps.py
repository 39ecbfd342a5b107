"""The blend's maps by hand, in the files that an ensemble stage writes."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated_runs import folds_of, write_run
from scipy.special import expit, logit

from salt.blend.blended import mean_presence, write_blend
from salt.blend.runs import FinishedRun, open_run, open_runs
from salt.blend.weights import Plan, plan_blend
from salt.files import read_array, read_csv, read_json
from salt.maps import LN2
from salt.store import TileStore, open_store

PLANS = {0: Plan((0.75, 0.25), (0, 0)), 1: Plan((0.5, 0.5), (1, 0)), None: Plan((1, 0), (0, 0))}


@pytest.fixture
def store(project: Path) -> TileStore:
    return open_store(project / "data/ingest")


@pytest.fixture
def runs(tmp_path: Path, store: TileStore) -> list[FinishedRun]:
    first = write_run(tmp_path / "a", store, 1, decision_of={"0": 0, "1": 1, "test": 0})
    second = write_run(tmp_path / "b", store, 2, presence=float("nan"))
    return open_runs([first, second], store)


def blended(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    return share * first.astype(np.float32) + (1 - share) * second.astype(np.float32)


def test_each_folds_tiles_are_blended_by_its_plan(
    runs: list[FinishedRun], store: TileStore, tmp_path: Path
) -> None:
    write_blend(runs, PLANS, "probability", store, tmp_path / "out")
    first, second = runs[0].by_decision, runs[1].by_decision[0]
    by_plan = [blended(first[0], second, 0.75), blended(first[1], second, 0.5), first[0]]
    under = read_array(tmp_path / "out/oof_by_decision.npy")
    np.testing.assert_allclose(under, np.stack(by_plan), atol=1e-3)
    assert read_json(tmp_path / "out/summary.json") == {
        "average": "probability",
        "decision_of": {"0": 0, "1": 1, "test": 2},
        "members": [str(run.folder) for run in runs],
    }
    folds = folds_of(store)
    own = read_array(tmp_path / "out/oof_probability.npy")
    assert np.array_equal(own, under[folds, np.arange(len(folds))])
    assert np.array_equal(read_array(tmp_path / "out/test_probability.npy"), runs[0].test)


def test_tables_name_the_tiles_with_the_presence_of_those_that_know_it(
    runs: list[FinishedRun], store: TileStore, tmp_path: Path
) -> None:
    write_blend(runs, PLANS, "probability", store, tmp_path / "out")
    tiles = read_csv(tmp_path / "out/oof_tiles.csv")
    assert list(tiles.columns) == ["id", "fold", "presence"]
    assert tiles["id"].tolist() == store.labelled["id"].tolist()
    assert tiles["fold"].tolist() == folds_of(store).tolist()
    test_tiles = read_csv(tmp_path / "out/test_tiles.csv")
    assert test_tiles["id"].tolist() == store.unlabelled["id"].tolist()
    assert {*tiles["presence"], *test_tiles["presence"]} == {0.6}


def test_presence_is_the_mean_of_what_is_known() -> None:
    nan = np.nan
    members = [np.array([0.2, 0.4, nan]), np.array([0.6, nan, nan])]
    assert mean_presence(members) == pytest.approx([0.4, 0.4, nan], nan_ok=True)


def test_uncertainty_is_the_entropy_of_the_blend(
    runs: list[FinishedRun], store: TileStore, tmp_path: Path
) -> None:
    write_blend(runs, PLANS, "probability", store, tmp_path / "out")
    for part in ("oof", "test"):
        p = read_array(tmp_path / f"out/{part}_probability.npy").astype(np.float64)
        p = p.clip(1e-12, 1 - 1e-12)
        entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)) / LN2 * 255
        levels = read_array(tmp_path / f"out/{part}_uncertainty.npy")
        assert levels.dtype == np.uint8
        assert np.abs(levels - entropy).max() < 1.5  # maps are float16


def test_logits_can_be_averaged(runs: list[FinishedRun], store: TileStore, tmp_path: Path) -> None:
    plans = dict.fromkeys(PLANS, Plan((0.5, 0.5), (0, 0)))
    write_blend(runs, plans, "logit", store, tmp_path / "out")
    logits = [logit(run.test.astype(np.float64).clip(1e-4, 1 - 1e-4)) for run in runs]
    found = read_array(tmp_path / "out/test_probability.npy")
    np.testing.assert_allclose(found, expit(np.mean(logits, axis=0)), atol=1e-3)


def test_a_blend_is_a_run_itself(runs: list[FinishedRun], store: TileStore, tmp_path: Path) -> None:
    write_blend(runs, PLANS, "probability", store, tmp_path / "out")
    assert open_run(tmp_path / "out", store).decision_of == {0: 0, 1: 1, None: 2}


def test_maps_of_a_fold_do_not_know_its_truth(
    runs: list[FinishedRun], store: TileStore, tmp_path: Path
) -> None:
    own = folds_of(store) == 0
    turned = replace(store, masks=np.where(own[:, None, None], 1 - store.masks, store.masks))
    maps = []
    for truths in (store, turned):
        plans = plan_blend(runs, truths, "fitted", "probability")
        write_blend(runs, plans, "probability", truths, tmp_path / "out")
        maps.append(np.array(read_array(tmp_path / "out/oof_probability.npy")))
    assert np.array_equal(maps[0][own], maps[1][own])
    assert not np.array_equal(maps[0][~own], maps[1][~own])


def peak_memory(runs: list[FinishedRun], store: TileStore, out: Path) -> int:
    tracemalloc.start()
    plans = plan_blend(runs, store, "fitted", "probability")
    write_blend(runs, plans, "probability", store, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_runs(
    store: TileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salt.blend.weights.TILES_AT_ONCE", 16)  # as if there were many tiles
    folders = [write_run(tmp_path / f"run{k}", store, k) for k in range(8)]
    runs = open_runs(folders, store)
    few = peak_memory(runs[:2], store, tmp_path / "out")
    assert peak_memory(runs, store, tmp_path / "out") < 1.1 * few

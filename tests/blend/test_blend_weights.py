"""Weights of runs: fitted on the other folds, and on nothing of the tile's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated_runs import folds_of, write_run

from salt.blend.runs import FinishedRun, open_runs
from salt.blend.weights import plan_blend, products_by_fold, weights_without
from salt.errors import ParameterError
from salt.infer.blending import brier_products, fit_weights
from salt.store import TileStore, open_store


@pytest.fixture
def store(project: Path) -> TileStore:
    return open_store(project / "data/ingest")


@pytest.fixture
def runs(tmp_path: Path, store: TileStore) -> list[FinishedRun]:
    noises = [0.2, 0.3, 0.8]
    folders = [write_run(tmp_path / f"run{k}", store, k, noise) for k, noise in enumerate(noises)]
    return open_runs(folders, store)


def test_products_of_a_fold_are_those_of_its_tiles_taken_at_once() -> None:
    draw = np.random.default_rng(0)
    truths = (draw.random((300, 3, 3)) < 0.4).astype(np.uint8)
    ignore = (draw.random(truths.shape) < 0.1).astype(np.uint8)
    members, folds = list(draw.random((3, *truths.shape))), np.arange(300) % 2
    products = products_by_fold(members, truths, ignore, folds)
    for fold in (0, 1):
        own = folds == fold
        whole = brier_products([member[own] for member in members], truths[own], ignore[own])
        np.testing.assert_allclose(products[fold].gram, whole.gram)
        np.testing.assert_allclose(products[fold].target, whole.target)
    everything = fit_weights(brier_products(members, truths, ignore))
    np.testing.assert_allclose(weights_without(products, None), everything, atol=1e-6)


def test_weights_of_a_fold_do_not_know_its_truth(runs: list[FinishedRun], store: TileStore) -> None:
    honest = plan_blend(runs, store, "fitted", "probability")
    own = folds_of(store) == 1
    turned = np.where(own[:, None, None], 1 - store.masks, store.masks)
    lied = plan_blend(runs, replace(store, masks=turned), "fitted", "probability")
    assert lied[1] == honest[1]
    assert lied[0] != honest[0]
    assert lied[None] != honest[None]


def test_fitted_weights_share_out_one_and_prefer_the_better_run(
    runs: list[FinishedRun], store: TileStore
) -> None:
    for plan in plan_blend(runs, store, "fitted", "probability").values():
        assert sum(plan.weights) == pytest.approx(1)
        assert plan.weights[0] > plan.weights[1] > plan.weights[2] >= 0


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_equal_weights_are_one_plan_for_all_tiles(
    runs: list[FinishedRun], store: TileStore, average: str
) -> None:
    plans = plan_blend(runs, store, "equal", average)
    assert list(plans) == [0, 1, None]
    assert set(plans.values()) == {((1 / 3, 1 / 3, 1 / 3), (0, 0, 0))}


def test_a_fold_is_planned_on_the_runs_maps_as_decided_for_that_fold(
    tmp_path: Path, store: TileStore
) -> None:
    decided = write_run(tmp_path / "a", store, 0, 0.2, decision_of={"0": 0, "1": 2, "test": 1})
    runs = open_runs([decided, write_run(tmp_path / "b", store, 1, 0.4)], store)
    plans = plan_blend(runs, store, "fitted", "probability")
    assert {fold: plan.decisions for fold, plan in plans.items()} == {
        0: (0, 0), 1: (2, 0), None: (1, 0)
    }  # fmt: skip
    # a further decision brings as much noise again: 0.2, 0.4, 0.6 beside the other's 0.4
    assert plans[0].weights[0] > plans[None].weights[0] > plans[1].weights[0]


def test_weights_are_not_fitted_to_a_mean_of_logits(
    runs: list[FinishedRun], store: TileStore
) -> None:
    with pytest.raises(ParameterError, match="fitted with average logit"):
        plan_blend(runs, store, "fitted", "logit")

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_project import files_of

from salt.errors import StoreError
from salt.files import read_array, read_csv, read_json, write_array, write_csv
from salt.infer.candidates import adopts, gather_out_of_fold, refinement_gains
from salt.infer.crf import smooth_by_image
from salt.infer.ensemble import ensemble_folds, open_test_maps
from salt.infer.postprocess import Steps
from salt.maps import LN2
from salt.metrics import Gain
from salt.store import TileStore, open_store

FOLDS = [0, 1]
OFF = Steps()
PARTS = {"oof": slice(0, 24), "test": slice(24, 30)}
RIGHT, WRONG = 0.8, 0.3  # probability where there is salt; elsewhere it is always 0.1


@pytest.fixture
def store(project: Path) -> TileStore:
    return open_store(project / "data/ingest")


@pytest.fixture
def run(project: Path, store: TileStore):
    """Write both folds' maps as told, join them, and return the output folder."""

    def write_and_join(plain: dict[int, float], refined: dict[int, float], adopt: str) -> Path:
        for fold in FOLDS:
            write_fold(project, store, fold, plain[fold], refined[fold])
        return join(project, adopt)

    return write_and_join


def rows_of_fold(fold: int) -> np.ndarray:
    """Rows of a fold's tiles, not in store order."""
    return np.arange(fold, 24, 2)[::-1]


def write_fold(project: Path, store: TileStore, fold: int, plain: float, refined: float) -> None:
    """Plain and refined maps that say that probability where there is salt."""
    rows = rows_of_fold(fold)
    parts = {"oof": (rows, store.masks[rows]), "test": (np.arange(24, 30), store.masks[:6])}
    for part, (tiles, masks) in parts.items():
        ids = store.table["id"].iloc[tiles]
        maps = [np.where(masks, value, 0.1).astype(np.float16) for value in (plain, refined)]
        for stage, name, array in (("uncertainty", "mean", 0), ("refine", "probability", 1)):
            folder = project / stage / str(fold)
            write_array(folder / f"{part}_{name}.npy", maps[array])
            tiles_table = pd.DataFrame({"id": ids, "presence": 0.2 + 0.4 * fold})
            write_csv(folder / f"{part}_tiles.csv", tiles_table)
        for name in ("entropy", "mutual_information"):
            levels = np.full(masks.shape, 10 + fold, np.uint8)
            write_array(project / f"uncertainty/{fold}/{part}_{name}.npy", levels)


def join(
    project: Path,
    adopt: str = "auto",
    average: str = "probability",
    weights: str = "equal",
    crf_iterations: int = 0,
    steps: Steps = OFF,
    folds: list[int] = FOLDS,
) -> Path:
    out = project / "ensemble"
    inputs = ("uncertainty", "refine", "data/ingest", "data/index/neighbours.csv")
    paths = (project / name for name in inputs)
    how: dict[str, Any] = {"adopt": adopt, "average": average, "weights": weights}
    how |= {"crf_iterations": crf_iterations, "steps": steps}
    ensemble_folds(*paths, out, folds=folds, seed=1, **how)
    return out


def salt_value(out: Path, store: TileStore, fold: int) -> float:
    """The probability the output gives to salt on a fold's labelled tiles."""
    probability = read_array(out / "oof_probability.npy")
    rows = rows_of_fold(fold)
    values = np.unique(probability[rows][store.masks[rows] == 1])
    assert len(values) == 1
    return round(float(values[0]), 2)


def test_a_fold_adopts_the_refiner_by_what_it_did_for_the_other_folds(run, store) -> None:
    out = run(plain={0: WRONG, 1: RIGHT}, refined={0: RIGHT, 1: WRONG}, adopt="auto")
    # fold 0 would gain, but fold 1 speaks against it; fold 1 would lose, but fold 0 is for it
    assert salt_value(out, store, fold=0) == WRONG
    assert salt_value(out, store, fold=1) == WRONG
    summary = read_json(out / "summary.json")
    decided = summary["decided_by_other_folds"]
    assert [decided[fold]["refined"] for fold in "01"] == [False, True]
    assert decided["0"]["gain"] < 0 < decided["1"]["gain"]
    assert summary["refined"] is False  # on all tiles together nothing is sure


def test_all_labelled_tiles_are_written_under_each_decision_taken(run, store) -> None:
    out = run(plain={0: WRONG, 1: RIGHT}, refined={0: RIGHT, 1: WRONG}, adopt="auto")
    by_decision = read_array(out / "oof_by_decision.npy")
    decision_of = read_json(out / "summary.json")["decision_of"]
    assert decision_of == {"0": 0, "1": 1, "test": 0}  # plain, refined, plain
    salt = store.masks == 1
    for place, values in enumerate(({0: WRONG, 1: RIGHT}, {0: RIGHT, 1: WRONG})):
        for fold, value in values.items():
            rows = rows_of_fold(fold)
            maps = by_decision[place][rows][salt[rows]]
            assert np.unique(maps).astype(float) == pytest.approx([value], abs=1e-3)


def test_one_decision_for_all_is_what_is_scored(run) -> None:
    out = run(plain={0: RIGHT, 1: RIGHT}, refined={0: WRONG, 1: WRONG}, adopt="never")
    (maps,) = read_array(out / "oof_by_decision.npy")
    np.testing.assert_array_equal(maps, read_array(out / "oof_probability.npy"))


def test_where_refining_helps_every_fold_all_of_it_is_adopted(run, store) -> None:
    out = run(plain={0: WRONG, 1: WRONG}, refined={0: RIGHT, 1: RIGHT}, adopt="auto")
    assert [salt_value(out, store, fold) for fold in FOLDS] == [RIGHT, RIGHT]
    summary = read_json(out / "summary.json")
    assert summary["refined"] is True
    salty = (store.masks.max((1, 2)) == 1).mean()  # wrong maps score on empty tiles alone
    assert summary["refinement_gain"]["gain"] == pytest.approx(salty, abs=1e-6)
    low, high = summary["refinement_gain"]["interval"]
    assert 0 < low < salty < high <= 1


def test_no_gain_is_not_adopted(run, store) -> None:
    out = run(plain={0: RIGHT, 1: RIGHT}, refined={0: RIGHT - 0.1, 1: RIGHT - 0.1}, adopt="auto")
    assert [salt_value(out, store, fold) for fold in FOLDS] == [RIGHT, RIGHT]
    assert read_json(out / "summary.json")["refinement_gain"]["gain"] == 0


@pytest.mark.parametrize(("adopt", "expected"), [("always", RIGHT), ("never", WRONG)])
def test_adoption_can_be_ordered(run, store, adopt: str, expected: float) -> None:
    out = run(plain={0: WRONG, 1: WRONG}, refined={0: RIGHT, 1: RIGHT}, adopt=adopt)
    assert salt_value(out, store, fold=0) == expected
    test = np.unique(read_array(out / "test_probability.npy")).astype(float)
    assert test == pytest.approx([0.1, expected], abs=1e-3)


def test_a_gain_is_adopted_if_its_interval_lies_above_zero() -> None:
    assert adopts(Gain(0.02, 0.01, 0.03), "auto")
    assert not adopts(Gain(0.02, -0.01, 0.05), "auto")
    assert not adopts(Gain(0.02, 0.01, 0.03), "never")
    assert adopts(Gain(-0.02, -0.03, -0.01), "always")


def test_out_of_fold_maps_are_in_store_order_with_fold_presence_and_entropy(run, store) -> None:
    out = run(plain={0: RIGHT, 1: WRONG}, refined={0: 0.5, 1: 0.5}, adopt="never")
    tiles = read_csv(out / "oof_tiles.csv")
    assert list(tiles["id"]) == list(store.labelled["id"])
    assert tiles["fold"].tolist() == [0, 1] * 12
    np.testing.assert_allclose(tiles["presence"], [0.2, 0.6] * 12, rtol=1e-6)
    assert [salt_value(out, store, fold) for fold in FOLDS] == [RIGHT, WRONG]
    levels = read_array(out / "oof_uncertainty.npy")
    assert levels[:, 0, 0].tolist() == [10, 11] * 12


def test_test_maps_are_the_mean_over_the_folds_with_its_entropy(run, store) -> None:
    out = run(plain={0: 0.9, 1: 0.5}, refined={0: 0.2, 1: 0.2}, adopt="never")
    probability = read_array(out / "test_probability.npy")
    expected = np.where(store.masks[:6], (0.9 + 0.5) / 2, 0.1)
    np.testing.assert_allclose(probability, expected, atol=1e-3)
    entropy = -expected * np.log(expected) - (1 - expected) * np.log(1 - expected)
    levels = read_array(out / "test_uncertainty.npy")
    np.testing.assert_allclose(levels, entropy / LN2 * 255, atol=1)
    tiles = read_csv(out / "test_tiles.csv")
    assert list(tiles["id"]) == list(store.unlabelled["id"])
    np.testing.assert_allclose(tiles["presence"], 0.4, rtol=1e-6)


def test_steps_change_the_maps_of_sections_alone_and_their_effect_is_told(
    run, store: TileStore, project: Path
) -> None:
    plain = run(plain={0: RIGHT, 1: RIGHT}, refined={0: RIGHT, 1: RIGHT}, adopt="never")
    before = files_of(plain)
    assert read_json(plain / "summary.json")["postprocessing"]["seam_feather"]["applied"] is False
    own = range(0, 24, 2)  # fold 0: two of its tiles whose edges differ, and a test tile
    first = next(tile for tile in own if store.masks[tile][:, -1].any())
    second = next(tile for tile in own if tile != first and not store.masks[tile][:, 0].any())
    neighbours = project / "data/index/neighbours.csv"
    table = read_csv(neighbours)
    for column, tile in enumerate((first, second, 25)):
        table.loc[tile, ["mosaic", "column"]] = (99, column)
    write_csv(neighbours, table)
    out = join(project, steps=Steps(seam_feather=20))
    maps = read_array(out / "oof_probability.npy")
    assert (maps[first, :, -1] == maps[second, :, 0]).all()
    expected = np.where(store.masks, RIGHT, 0.1).astype(np.float16)
    changed = [tile for tile in range(24) if (maps[tile] != expected[tile]).any()]
    assert changed == sorted([first, second])
    test = read_array(out / "test_probability.npy")
    half_way = (store.masks[second][:, -1] + np.where(store.masks[1][:, 0], RIGHT, 0.1)) / 2
    np.testing.assert_allclose(test[1][:, 0], half_way, atol=1e-3)  # towards its neighbour's truth
    effect = read_json(out / "summary.json")["postprocessing"]["seam_feather"]
    assert effect["applied"] is True
    assert effect["pixels"] == 20
    assert files_of(out)["oof_uncertainty.npy"] == before["oof_uncertainty.npy"]


def test_logits_can_be_averaged_instead(run, project: Path, store: TileStore) -> None:
    run(plain={0: 0.9, 1: 0.5}, refined={0: 0.2, 1: 0.2}, adopt="never")
    probability = read_array(join(project, "never", average="logit") / "test_probability.npy")
    # the logits of 0.9 and 0.5 are ln 9 and 0, so their mean is ln 3: odds of 3 to 1
    np.testing.assert_allclose(probability, np.where(store.masks[:6], 0.75, 0.1), atol=1e-3)


def test_joined_maps_are_smoothed_by_the_images_of_their_own_tiles(run, project, store) -> None:
    plain = run(plain={0: 0.9, 1: 0.6}, refined={0: 0.2, 1: 0.2}, adopt="never")
    before = {part: np.array(read_array(plain / f"{part}_probability.npy")) for part in PARTS}
    out = join(project, "never", crf_iterations=2)
    for part, rows in PARTS.items():
        expected = smooth_by_image(before[part], store.images[rows], 2)
        smoothed = read_array(out / f"{part}_probability.npy")
        np.testing.assert_allclose(smoothed, expected, atol=2e-3)
        assert abs(smoothed - before[part]).max() > 0.01


def test_fitted_weights_of_a_fold_come_from_the_other_folds(run, project: Path, store) -> None:
    run(plain={0: 0.2, 1: 0.8}, refined={0: 0.8, 1: 0.2}, adopt="auto")
    out = join(project, weights="fitted")
    # in fold 1 the plain map is better throughout, so fold 0 gets it, and the other way round
    assert [salt_value(out, store, fold) for fold in FOLDS] == [0.2, 0.2]
    decided = read_json(out / "summary.json")["decided_by_other_folds"]
    assert decided["0"]["weights"] == pytest.approx({"plain": 1, "refined": 0}, abs=1e-6)
    assert decided["1"]["weights"] == pytest.approx({"plain": 0, "refined": 1}, abs=1e-6)


def test_fitted_weights_blend_test_maps_over_all_folds(run, project: Path, store) -> None:
    run(plain={0: 0.2, 1: 0.8}, refined={0: 0.8, 1: 0.2}, adopt="auto")
    out = join(project, weights="fitted")
    weights = read_json(out / "summary.json")["refinement_gain"]["weights"]
    assert 0 < weights["refined"] < 1
    assert sum(weights.values()) == pytest.approx(1)
    probability = read_array(out / "test_probability.npy")
    np.testing.assert_allclose(probability, np.where(store.masks[:6], 0.5, 0.1), atol=1e-3)


def test_joining_again_gives_the_same_bytes(run, project: Path) -> None:
    out = run(plain={0: WRONG, 1: RIGHT}, refined={0: RIGHT, 1: WRONG}, adopt="auto")
    first = files_of(out)
    assert files_of(join(project)) == first


def test_gains_leave_out_one_fold_at_a_time(project: Path, store: TileStore, run) -> None:
    run(plain={0: WRONG, 1: RIGHT}, refined={0: RIGHT, 1: RIGHT}, adopt="auto")
    tiles = gather_out_of_fold(store, project / "uncertainty", project / "refine", FOLDS)
    gains = refinement_gains(tiles, store, FOLDS, seed=1)
    salty = store.masks[rows_of_fold(0)].max((1, 2)).mean()
    assert gains[0].mean == 0
    assert gains[1].mean == pytest.approx(salty)
    assert gains[None].mean == pytest.approx(salty / 2)


@pytest.fixture
def joined(run, project: Path) -> Path:
    """A project whose folds have been joined once."""
    run(plain={0: RIGHT, 1: RIGHT}, refined={0: RIGHT, 1: RIGHT}, adopt="always")
    return project


def refused(project: Path, message: str, **settings: Any) -> None:
    before = files_of(project / "ensemble")
    with pytest.raises(StoreError, match=message):
        join(project, **settings)
    assert files_of(project / "ensemble") == before


def reorder(path: Path, order: list[int] | slice) -> None:
    write_csv(path, read_csv(path).iloc[order])


def test_a_fold_that_was_not_measured_is_refused(joined: Path) -> None:
    (joined / "uncertainty/1/oof_mean.npy").unlink()
    refused(joined, r"uncertainty/1/oof_mean.npy: no such file")


def test_tiles_in_no_fold_are_refused(joined: Path) -> None:
    for stage, names in (
        ("uncertainty", ["mean", "entropy", "mutual_information"]),
        ("refine", ["probability"]),
    ):
        reorder(joined / stage / "1/oof_tiles.csv", slice(1, None))
        for name in names:
            path = joined / stage / f"1/oof_{name}.npy"
            write_array(path, read_array(path, mapped=False)[1:])
    refused(joined, r"1 of 24 labelled tiles are in none of the folds \[0, 1\]")


def test_tiles_in_two_folds_are_refused(joined: Path) -> None:
    for stage in ("uncertainty", "refine"):
        first = read_csv(joined / stage / "0/oof_tiles.csv")
        write_csv(joined / stage / "1/oof_tiles.csv", first)
    refused(joined, "fold 1: .* in another fold too")


def test_an_id_twice_in_a_fold_is_refused(joined: Path) -> None:
    reorder(joined / "uncertainty/1/oof_tiles.csv", [0, 0, *range(2, 12)])
    refused(joined, "expected one map per unique id")


def test_unlabelled_tiles_out_of_fold_are_refused(joined: Path) -> None:
    for stage in ("uncertainty", "refine"):
        tiles = read_csv(joined / stage / "1/oof_tiles.csv")
        tiles.loc[0, "id"] = "b00"
        write_csv(joined / stage / "1/oof_tiles.csv", tiles)
    refused(joined, "fold 1: .* unlabelled")


def test_refined_tiles_in_another_order_are_refused(joined: Path) -> None:
    reorder(joined / "refine/1/oof_tiles.csv", slice(None, None, -1))
    refused(joined, "fold 1: tiles of .* differ")


@pytest.mark.parametrize("stage", ["uncertainty", "refine"])
def test_test_tiles_in_another_order_are_refused(joined: Path, stage: str) -> None:
    reorder(joined / stage / "1/test_tiles.csv", slice(None, None, -1))
    refused(
        joined, "fold 1 predicted 6 test tiles that are not the store's 6 in order", adopt="always"
    )


def test_a_member_named_twice_is_refused(joined: Path) -> None:
    refused(joined, "in another fold too", folds=[0, 1, 1])
    store = open_store(joined / "data/ingest")
    with pytest.raises(StoreError, match=r"members \[1, 1\]; expected each fold once"):
        open_test_maps(store, joined / "uncertainty", joined / "refine", [1, 1])

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from salt.files import read_array, read_csv, read_json
from salt.infer.pseudo import Agreement, choose_tiles, judge_tiles, label_fold, mean_agreement
from salt.infer.uncertainty import open_network
from salt.models.predict import predict
from salt.store import open_store

SETTINGS = {"fold": 0, "passes": 2, "tta": "flip", "precision": "fp32"}


def judged(empty: list[bool], agreement: list[float], entropy: list[float]) -> Agreement:
    masks = np.zeros((len(empty), 4, 4), np.uint8)
    masks[~np.array(empty, bool), 0, 0] = 1
    return Agreement(masks, np.array(agreement), np.array(entropy))


def label(project: Path, out: Path, **changes) -> None:
    data = project / "data"
    settings = SETTINGS | {"share": 1.0, "agreement": 0.0} | changes
    label_fold(
        data / "train/0",
        data / "ingest",
        data / "index",
        device=torch.device("cpu"),
        out=out,
        **settings,
    )


def test_agreement_is_the_mean_score_of_the_members_against_the_mask() -> None:
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, :, :6] = 1
    narrower = mask.copy()
    narrower[0, :, 5] = 0  # IoU 50 / 60: above 0.50 ... 0.80, that is 7 of 10 thresholds
    members = np.stack([mask, narrower, np.zeros_like(mask)])
    assert mean_agreement(members, mask) == pytest.approx([(1 + 0.7 + 0) / 3])


def test_the_surest_tiles_are_chosen_and_the_share_of_empty_ones_is_held() -> None:
    tiles = judged(
        empty=[True, True, True, False, False, False, False],
        agreement=[1, 1, 1, 1, 1, 1, 0.2],
        entropy=[0.3, 0.1, 0.2, 0.5, 0.4, 0.6, 0.0],
    )
    chosen = choose_tiles(tiles, count=4, empty_share=0.5, least=0.9)
    assert chosen.tolist() == [1, 2, 3, 4]


def test_where_one_kind_is_short_fewer_of_the_other_are_chosen() -> None:
    tiles = judged([True] * 9 + [False], [1.0] * 10, list(range(10)))
    chosen = choose_tiles(tiles, count=10, empty_share=0.5, least=0.9)
    assert chosen.tolist() == [0, 9]


@pytest.mark.parametrize("empty_share", [0.0, 1.0])
def test_labels_of_one_kind_ask_for_that_kind_alone(empty_share: float) -> None:
    tiles = judged([True, True, False, False], [1.0] * 4, [0.0] * 4)
    chosen = choose_tiles(tiles, count=2, empty_share=empty_share, least=0.5)
    assert (tiles.masks[chosen].max((1, 2)) == 0).all() == (empty_share == 1)
    assert len(chosen) == 2


def test_no_tile_is_chosen_where_none_agrees() -> None:
    tiles = judged([True, False], [0.5, 0.5], [0.1, 0.1])
    assert len(choose_tiles(tiles, count=2, empty_share=0.5, least=0.9)) == 0


def test_a_single_deterministic_view_is_the_plain_prediction(finished_project: Path) -> None:
    data = finished_project / "data"
    places = (data / name for name in ("train/0", "ingest", "index"))
    network = open_network(*places, torch.device("cpu"))
    rows = network.store.unlabelled["row"].to_numpy()
    with torch.inference_mode():
        tiles = judge_tiles(network, rows, passes=1, tta="none", name="")
    expected, _ = predict(network.snapshots[-1], network.images, network.stacks[rows], name="")
    np.testing.assert_array_equal(tiles.masks, expected > 0.5)
    assert (tiles.agreement == 1).all()  # one member agrees with itself


def test_only_test_tiles_that_are_not_constant_are_labelled(
    finished_project: Path, tmp_path: Path
) -> None:
    label(finished_project, tmp_path)
    tiles = open_store(finished_project / "data/ingest").unlabelled
    possible = set(tiles["id"][~tiles["is_constant"].astype(bool)])
    table, summary = read_csv(tmp_path / "tiles.csv"), read_json(tmp_path / "summary.json")
    assert set(table["id"]) <= possible
    assert len(read_array(tmp_path / "masks.npy")) == len(table) == summary["chosen"]
    assert summary["judged"] == len(possible)


def test_a_share_of_zero_asks_nothing_of_the_network(
    finished_project: Path, tmp_path: Path
) -> None:
    label(finished_project, tmp_path, share=0.0)
    assert len(read_csv(tmp_path / "tiles.csv")) == 0
    assert read_array(tmp_path / "masks.npy").shape == (0, 101, 101)
    assert read_json(tmp_path / "summary.json")["judged"] == 0


def test_labels_of_the_held_out_fold_change_nothing(finished_project: Path, tmp_path: Path) -> None:
    """Turning every mask of fold 0 over must not reach what is chosen for fold 0."""
    label(finished_project, tmp_path / "before")
    project = tmp_path / "project"
    shutil.copytree(finished_project / "data", project / "data")
    folds = read_csv(project / "data/index/folds.csv")
    masks = np.load(project / "data/ingest/masks.npy")
    held_out = (folds["fold"] == 0).to_numpy()
    masks[held_out] = 1 - masks[held_out]
    np.save(project / "data/ingest/masks.npy", masks)
    label(project, tmp_path / "after")
    for name in ("masks.npy", "tiles.csv", "summary.json"):
        before, after = ((tmp_path / part / name).read_bytes() for part in ("before", "after"))
        assert before == after

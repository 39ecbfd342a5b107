"""Monte Carlo dropout and pseudo-labels by a fold that has snapshots of its network."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from salt.dataset import open_stacks
from salt.errors import StoreError
from salt.files import read_array, read_csv, read_json
from salt.infer.pseudo import judge_tiles, mean_agreement
from salt.infer.uncertainty import measure_fold, open_network, sample_networks, tiles_at_once
from salt.models.predict import predict
from salt.models.snapshots import load_snapshots

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def fold(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fold 0 as if its network had once been that of fold 1."""
    folder = tmp_path_factory.mktemp("fold")
    shutil.copytree(finished_project / "data/train/0", folder, dirs_exist_ok=True)
    shutil.copytree(finished_project / "data/train/1", folder / "snapshots/1")
    return folder


def measure(project: Path, fold: Path, out: Path, **changes) -> None:
    settings = {"passes": 1, "tta": "none", "snapshots": 2} | changes
    folders = (project / "data" / name for name in ("ingest", "index"))
    torch.manual_seed(0)
    measure_fold(fold, *folders, fold=0, precision="fp32", device=CPU, out=out, **settings)


def plain_maps(project: Path, fold: Path, flip: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Maps and presence of both networks on the held-out tiles, one after the other."""
    data = project / "data"
    store, stacks = open_stacks(data / "ingest", data / "index", width=3)
    rows = store.rows_of(read_csv(fold / "oof_tiles.csv")["id"])
    answers = [
        predict(model, store.images, stacks[rows], flip=flip, name="")
        for model in load_snapshots(fold, 2)
    ]
    maps, presence = (np.stack(values) for values in zip(*answers, strict=True))
    return maps, presence


def test_mean_and_variance_of_two_snapshots_are_those_by_hand(
    finished_project: Path, fold: Path, tmp_path: Path
) -> None:
    measure(finished_project, fold, tmp_path)
    (first, second), presence = plain_maps(finished_project, fold)
    mean = read_array(tmp_path / "oof_mean.npy")
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-3)
    variance = read_array(tmp_path / "oof_variance.npy") * (0.25 / 255)
    np.testing.assert_allclose(variance, (first - second) ** 2 / 4, atol=0.51 * 0.25 / 255)
    assert variance.any()
    assert read_array(tmp_path / "oof_mutual_information.npy").any()
    tiles = read_csv(tmp_path / "oof_tiles.csv")
    np.testing.assert_allclose(tiles["presence"], presence.mean(0), atol=1e-5)
    np.testing.assert_allclose(tiles["presence_std"], presence.std(0), atol=1e-5)
    assert read_json(tmp_path / "summary.json") == {"passes": 1, "tta": "none", "snapshots": 2}
    assert not (tmp_path / "oof_snapshots.npy").exists()  # it would be the mean again


def test_plain_means_over_snapshots_and_over_their_views_are_kept_for_held_out_tiles(
    finished_project: Path, fold: Path, tmp_path: Path
) -> None:
    measure(finished_project, fold, tmp_path, passes=2, tta="flip")
    for name, flip in (("snapshots", False), ("views", True)):
        maps, _ = plain_maps(finished_project, fold, flip)
        kept = read_array(tmp_path / f"oof_{name}.npy")
        np.testing.assert_allclose(kept, maps.mean(0), atol=1e-3)
        assert not (tmp_path / f"test_{name}.npy").exists()


@pytest.mark.parametrize("snapshots", [0, 1])
def test_one_snapshot_is_the_main_network_alone(
    finished_project: Path, fold: Path, tmp_path: Path, snapshots: int
) -> None:
    measure(finished_project, fold, tmp_path, snapshots=snapshots)
    trained = read_array(finished_project / "data/train/0/oof_probability.npy")
    np.testing.assert_allclose(read_array(tmp_path / "oof_mean.npy"), trained, atol=1e-3)
    assert not read_array(tmp_path / "oof_variance.npy").any()


def test_every_network_gives_all_views_and_passes(make_segmenter) -> None:
    networks = [make_segmenter(), make_segmenter()]
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        probability, presence = sample_networks(networks, images, 3, 101, "flip")
    assert probability.shape == (2 * 2 * 3, 2, 101, 101)
    assert presence.shape == (12, 2)


def test_fewer_tiles_make_a_batch_the_more_networks_there_are() -> None:
    assert tiles_at_once(1, 16, "flip") == 32  # 1024 maps
    assert tiles_at_once(4, 16, "flip") == 8
    assert tiles_at_once(1, 1, "none") == 64
    assert tiles_at_once(100, 100, "flip") == 1


def test_the_members_that_must_agree_about_a_label_are_of_every_snapshot(
    finished_project: Path, fold: Path
) -> None:
    places = (finished_project / "data" / name for name in ("ingest", "index"))
    network = open_network(fold, *places, CPU, snapshots=2)
    rows = network.store.unlabelled["row"].to_numpy()
    with torch.inference_mode():
        judged = judge_tiles(network, rows, passes=1, tta="none", name="")
    maps = np.stack(
        [
            predict(model, network.images, network.stacks[rows], name="")[0]
            for model in network.snapshots
        ]
    )
    np.testing.assert_array_equal(judged.masks, maps.mean(0) > 0.5)
    assert judged.agreement.tolist() == mean_agreement(maps > 0.5, judged.masks).tolist()


def test_a_snapshot_that_is_missing_is_named(finished_project: Path, fold: Path) -> None:
    places = (finished_project / "data" / name for name in ("ingest", "index"))
    with pytest.raises(StoreError, match=r"snapshots/2/config.json: no such file"):
        open_network(fold, *places, CPU, snapshots=3)

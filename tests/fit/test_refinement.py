import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_project import files_of

from salt.errors import StoreError
from salt.files import read_array, read_csv, write_array, write_csv
from salt.fit.refinement import RefinementTask, _inputs, fit_refiner, refined_logits
from salt.fit.task import FitConfig
from salt.maps import open_maps, open_probability
from salt.models.refiner import Refiner
from salt.models.segmenter import WEIGHTS
from salt.models.weights import load_weights, read_weights
from salt.seeding import generator
from salt.store import open_store

FOLDS = [0, 1, 2]


@pytest.fixture
def uncertainty(project: Path) -> Path:
    """Maps of three folds over the 24 labelled and 6 test tiles, the truth seen through fog."""
    store = open_store(project / "data/ingest")
    draw = generator(0, "maps")
    for fold in FOLDS:
        oof = np.flatnonzero(np.arange(24) // 3 % 3 == fold)
        for part, rows in (("oof", oof), ("test", np.arange(24, 30))):
            truth = store.masks[rows] if part == "oof" else np.zeros((len(rows), 101, 101))
            mean = (0.3 + 0.4 * truth + draw.uniform(-0.3, 0.3, truth.shape)).clip(0, 1)
            write_maps(project / f"uncertainty/{fold}", part, store.table["id"].iloc[rows], mean)
    return project / "uncertainty"


def write_maps(folder: Path, part: str, ids: pd.Series, mean: np.ndarray) -> None:
    write_array(folder / f"{part}_mean.npy", mean.astype(np.float16))
    levels = (255 * (1 - np.abs(2 * mean - 1))).astype(np.uint8)
    write_array(folder / f"{part}_entropy.npy", levels)
    write_array(folder / f"{part}_mutual_information.npy", levels // 2)
    write_csv(folder / f"{part}_tiles.csv", pd.DataFrame({"id": ids, "presence": 0.5}))


def spoil(uncertainty: Path, fold: int) -> None:
    """Replace a fold's out-of-fold maps by garbage."""
    maps = open_maps(uncertainty / str(fold), "oof")
    noise = generator(9, "garbage").uniform(size=maps.mean.shape)
    write_maps(uncertainty / str(fold), "oof", pd.Series(maps.ids), noise)


def refine(uncertainty: Path, fold: int, out: Path, epochs: int = 2, **changes: Any) -> Path:
    torch.manual_seed(0)
    fit_refiner(
        uncertainty,
        uncertainty.parent / "data/ingest",
        fold=fold,
        folds=FOLDS,
        width=4,
        batch_size=4,
        fit_config=FitConfig(epochs=epochs, learning_rate=1e-2, weight_decay=0.0),
        seed=1,
        out=out,
        resume=out / "resume",
        device=torch.device("cpu"),
        report=lambda *_: None,
        **changes,
    )
    return out


def test_a_folds_own_maps_have_no_say_in_its_refiner(uncertainty: Path, tmp_path: Path) -> None:
    before = read_weights(refine(uncertainty, 1, tmp_path / "before") / WEIGHTS)
    spoil(uncertainty, 1)
    after = read_weights(refine(uncertainty, 1, tmp_path / "after") / WEIGHTS)
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    spoil(uncertainty, 2)
    other = read_weights(refine(uncertainty, 1, tmp_path / "other") / WEIGHTS)
    assert not torch.equal(other["head.weight"], before["head.weight"])


def test_a_folds_own_labels_have_no_say_either(uncertainty: Path, tmp_path: Path) -> None:
    before = read_weights(refine(uncertainty, 1, tmp_path / "before") / WEIGHTS)
    ingest = uncertainty.parent / "data/ingest"
    masks = read_array(ingest / "masks.npy", mapped=False)
    masks[np.arange(24) // 3 % 3 == 1] ^= 1
    write_array(ingest / "masks.npy", masks)
    after = read_weights(refine(uncertainty, 1, tmp_path / "after") / WEIGHTS)
    assert torch.equal(before["head.weight"], after["head.weight"])


def test_a_fold_is_refined_from_its_own_maps(uncertainty: Path, tmp_path: Path) -> None:
    out = refine(uncertainty, 0, tmp_path / "out")
    model = Refiner(width=4)
    load_weights(model, out / WEIGHTS)
    own = open_maps(uncertainty / "0", "oof")
    store = open_store(uncertainty.parent / "data/ingest")
    batch = RefinementTask("own", store, [own], batch_size=1, seed=0)._batch(np.arange(9))
    with torch.no_grad():
        expected = torch.sigmoid(refined_logits(model.eval(), batch.inputs))[:, 0]
    np.testing.assert_allclose(read_array(out / "oof_probability.npy"), expected, atol=1e-3)


@pytest.mark.parametrize("part", ["oof", "test"])
def test_refined_maps_keep_their_ids_and_presence(
    uncertainty: Path, tmp_path: Path, part: str
) -> None:
    out, maps = refine(uncertainty, 0, tmp_path / "out"), open_maps(uncertainty / "0", part)
    ids, probability, presence = open_probability(out, part)
    assert ids == maps.ids
    assert (probability.dtype, probability.shape) == (np.float16, maps.mean.shape)
    np.testing.assert_array_equal(presence, maps.presence)


def test_no_epochs_pass_the_maps_on_as_they_are(uncertainty: Path, tmp_path: Path) -> None:
    out = refine(uncertainty, 2, tmp_path / "out", epochs=0)
    mean = open_maps(uncertainty / "2", "test").mean
    np.testing.assert_array_equal(read_array(out / "test_probability.npy"), mean)


def test_an_untrained_refiner_changes_nothing(uncertainty: Path) -> None:
    mean = open_maps(uncertainty / "2", "test").mean.astype(np.float32)
    zeros = np.zeros(mean.shape, np.uint8)
    with torch.no_grad():
        logits = refined_logits(Refiner(width=4).eval(), _inputs(zeros, mean, zeros, zeros))
    np.testing.assert_allclose(torch.sigmoid(logits)[:, 0], mean.clip(0.0025, 0.9975), atol=1e-4)


def test_refinement_clears_the_fog(uncertainty: Path, tmp_path: Path) -> None:
    history = read_csv(refine(uncertainty, 0, tmp_path / "out", epochs=8) / "history.csv", ())
    assert history["train_loss"].iloc[-1] < 0.8 * history["train_loss"].iloc[0]


def test_the_same_seed_gives_the_same_files(uncertainty: Path, tmp_path: Path) -> None:
    first, second = (refine(uncertainty, 0, tmp_path / name) for name in "ab")
    assert files_of(first) == files_of(second)


def test_overlapping_folds_are_refused(uncertainty: Path, tmp_path: Path) -> None:
    shutil.rmtree(uncertainty / "2")
    shutil.copytree(uncertainty / "1", uncertainty / "2")
    with pytest.raises(StoreError, match="refine@0: the folds' out-of-fold tiles overlap"):
        refine(uncertainty, 0, tmp_path / "out")


def test_unlabelled_out_of_fold_tiles_are_refused(uncertainty: Path, tmp_path: Path) -> None:
    for path in (uncertainty / "1").glob("test_*"):
        path.rename(path.with_name(path.name.replace("test", "oof")))
    with pytest.raises(StoreError, match="overlap or are not labelled"):
        refine(uncertainty, 0, tmp_path / "out")


def test_a_fold_without_maps_is_refused_before_anything_is_written(
    uncertainty: Path, tmp_path: Path
) -> None:
    (uncertainty / "0/test_mean.npy").unlink()
    with pytest.raises(StoreError, match=r"0/test_mean.npy: no such file"):
        refine(uncertainty, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_epoch_shows_every_tile_at_most_once_with_its_own_mask(uncertainty: Path) -> None:
    store = open_store(uncertainty.parent / "data/ingest")
    maps = [open_maps(uncertainty / str(fold), "oof") for fold in (0, 2)]
    task = RefinementTask("refine@1", store, maps, batch_size=4, seed=1)
    batches = list(task.batches(epoch=0))
    assert len(batches) == task.steps() == 3
    ids = [name for batch in batches for name in batch.ids]
    assert len(set(ids)) == len(ids) == 12
    for batch in batches:
        masks = store.masks[store.rows_of(batch.ids)]
        mirrored = not np.array_equal(batch.masks[:, 0].numpy(), masks)
        if mirrored:
            masks = masks[:, :, ::-1]
        np.testing.assert_array_equal(batch.masks[:, 0].numpy(), masks)
        logit = batch.inputs[:, 1].numpy()
        assert np.mean((logit > 0) == masks) > 0.8  # the map moved with its mask


def test_epochs_repeat_themselves_and_differ_from_each_other(uncertainty: Path) -> None:
    store = open_store(uncertainty.parent / "data/ingest")
    maps = [open_maps(uncertainty / "0", "oof")]
    task = RefinementTask("refine@1", store, maps, batch_size=4, seed=1)
    first, again, other = ([b.ids for b in task.batches(epoch)] for epoch in (0, 0, 1))
    assert first == again != other

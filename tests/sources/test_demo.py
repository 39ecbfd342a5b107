"""The demo survey: Kaggle's layout with its quirks, repeatable, its test truth kept apart."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salt import rle
from salt.errors import InputError, ParameterError
from salt.files import read_csv
from salt.sources.demo import write_survey

SETTINGS = {"seed": 11, "blocks": 5, "test_blocks": 2, "inlines": 2, "empty_share": 0.38}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `kaggle` and `truth` of a small survey."""
    folder = tmp_path_factory.mktemp("demo")
    write_survey(folder / "kaggle", folder / "truth", **SETTINGS)
    return folder


@pytest.fixture(scope="module")
def geometry(root: Path) -> pd.DataFrame:
    return read_csv(root / "kaggle/geometry.csv").set_index("id")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def run_lengths(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "kaggle/train.csv", dtype=str, keep_default_na=False)


def images_of(root: Path, ids: pd.Index) -> dict[str, np.ndarray]:
    """Return grey images, float, by id."""
    found = {}
    for name in ids:
        paths = [root / f"kaggle/{split}/images/{name}.png" for split in ("train", "test")]
        image = np.asarray(Image.open(next(path for path in paths if path.exists())))
        found[name] = (image[..., 0] if image.ndim == 3 else image).astype(float)
    return found


def test_a_rerun_in_another_folder_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    write_survey(tmp_path / "a/kaggle", tmp_path / "a/truth", **SETTINGS)
    assert digests(tmp_path / "a") == digests(root)


def test_another_survey_in_the_same_folder_replaces_the_first(tmp_path: Path) -> None:
    small = {**SETTINGS, "blocks": 2, "test_blocks": 1, "inlines": 1}
    for seed in (1, 2):
        write_survey(tmp_path / "kaggle", tmp_path / "truth", **{**small, "seed": seed})
    write_survey(tmp_path / "fresh", tmp_path / "fresh_truth", **{**small, "seed": 2})
    assert digests(tmp_path / "kaggle") == digests(tmp_path / "fresh")


def test_tables_and_pictures_name_the_same_tiles(root: Path) -> None:
    survey = root / "kaggle"
    train, sample, depths, geometry = (
        set(read_csv(survey / f"{name}.csv")["id"])
        for name in ("train", "sample_submission", "depths", "geometry")
    )
    assert len(train) == 3 * 2 * 8 and len(sample) == 2 * 2 * 8
    assert not train & sample and train | sample == depths == geometry
    for folder, ids in (("train/images", train), ("train/masks", train), ("test/images", sample)):
        assert {path.stem for path in (survey / folder).iterdir()} == ids


def test_ids_are_ten_hex_characters_without_order(geometry: pd.DataFrame) -> None:
    assert geometry.index.str.fullmatch("[0-9a-f]{10}").all() and geometry.index.is_unique
    assert not geometry["volume"].is_monotonic_increasing


def test_pictures_have_the_modes_of_the_competition(root: Path) -> None:
    survey = root / "kaggle"
    train = [Image.open(path) for path in sorted((survey / "train/images").iterdir())]
    assert {image.mode for image in train} == {"RGB"}
    assert all(np.ptp(np.asarray(image), axis=2).max() == 0 for image in train)
    assert {Image.open(path).mode for path in (survey / "test/images").iterdir()} == {"L"}


def test_masks_are_8_bit_when_empty_and_16_bit_otherwise(root: Path) -> None:
    for path in (root / "kaggle/train/masks").iterdir():
        picture = Image.open(path)
        mask = np.asarray(picture)
        assert mask.shape == (101, 101)
        assert picture.mode == ("I;16" if mask.any() else "L")
        assert set(np.unique(mask)) <= {0, 65535}


def test_run_lengths_agree_with_the_mask_pictures(root: Path) -> None:
    table = run_lengths(root)
    for name, runs in zip(table["id"], table["rle_mask"], strict=True):
        picture = np.asarray(Image.open(root / f"kaggle/train/masks/{name}.png")) > 0
        assert np.array_equal(rle.decode(runs, 101, 101), picture)


def test_whole_blocks_are_held_out(root: Path, geometry: pd.DataFrame) -> None:
    test_ids = read_csv(root / "kaggle/sample_submission.csv")["id"]
    volumes = geometry.loc[test_ids, "volume"].unique()
    assert len(volumes) == 2
    assert set(geometry.index[geometry["volume"].isin(volumes)]) == set(test_ids)


def test_test_truth_is_nowhere_in_the_survey(root: Path) -> None:
    truth = np.load(root / "truth/masks.npy")
    ids = read_csv(root / "truth/ids.csv")["id"]
    assert truth.shape == (len(ids), 101, 101) and truth.dtype == np.uint8
    assert set(ids) == set(read_csv(root / "kaggle/sample_submission.csv")["id"])
    labelled = set(read_csv(root / "kaggle/train.csv")["id"])
    assert labelled.isdisjoint(ids)
    assert {path.suffix for path in (root / "kaggle").rglob("*.*")} == {".png", ".csv"}
    masks = {path.stem for path in (root / "kaggle").rglob("masks/*.png")}
    assert masks == labelled
    sample = read_csv(root / "kaggle/sample_submission.csv", text_columns=("id", "rle_mask"))
    assert set(sample["rle_mask"]) == {"1 1"}


def test_the_empty_share_is_met_in_train_and_test(root: Path) -> None:
    runs = run_lengths(root)["rle_mask"]
    truth = np.load(root / "truth/masks.npy")
    assert abs(runs.eq("").mean() - 0.38) <= 0.05
    assert abs((truth.max(axis=(1, 2)) == 0).mean() - 0.38) <= 0.05


def test_hardly_any_tile_is_all_salt(root: Path) -> None:
    assert (np.load(root / "truth/masks.npy").mean(axis=(1, 2)) > 0.99).mean() <= 0.03


def test_amplitudes_continue_across_every_seam(root: Path, geometry: pd.DataFrame) -> None:
    images = images_of(root, geometry.index)
    place = geometry.reset_index().set_index(["volume", "inline", "crossline", "sample"])["id"]
    correlations = []
    for (volume, inline, crossline, sample), name in place.items():
        right = place.get((volume, inline, crossline + 1, sample))
        if right is not None:
            edges = images[name][:, -1], images[right][:, 0]
            correlations.append(np.corrcoef(*edges)[0, 1])
    assert np.median(correlations) > 0.9
    assert np.quantile(correlations, 0.05) > 0.5


def test_neighbouring_inlines_show_nearly_the_same(root: Path, geometry: pd.DataFrame) -> None:
    images = images_of(root, geometry.index)
    pairs = geometry.reset_index().groupby(["volume", "crossline", "sample"])["id"].agg(list)
    correlations = [
        np.corrcoef(images[first].ravel(), images[second].ravel())[0, 1] for first, second in pairs
    ]
    assert 0.6 < np.median(correlations) < 0.99


def test_depths_are_whole_numbers_in_the_range_of_the_competition(root: Path) -> None:
    depths = read_csv(root / "kaggle/depths.csv")["z"]
    assert depths.dtype == np.int64 and depths.between(50, 959).all()


def test_a_survey_without_training_blocks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"demo\.test_blocks: got 2 of 2 .* expected 1 to 1"):
        write_survey(tmp_path / "k", tmp_path / "t", **{**SETTINGS, "blocks": 2, "test_blocks": 2})


def test_a_folder_with_foreign_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="expected an empty or new folder"):
        write_survey(tmp_path, tmp_path / "truth", **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

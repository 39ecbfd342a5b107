import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kaggle_folder import KaggleFolder
from PIL import Image

from salt.errors import InputError
from salt.sources.ingest import ingest, keep_neighbours
from salt.store import COLUMNS, open_store

TGS = Path(__file__).resolve().parents[2] / "../shared/data/tgs"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def upscale(kaggle: KaggleFolder, ignored_rows: int = 0) -> None:
    """Turn the data set into 202x202 tiles, the top of each mask ignored."""
    for split in ("train", "test"):
        for path in kaggle.path(f"{split}/images").iterdir():
            tile = np.asarray(Image.open(path))
            Image.fromarray(tile.repeat(2, axis=0).repeat(2, axis=1)).save(path)
    for path in kaggle.path("train/masks").iterdir():
        share = Image.fromarray((np.asarray(Image.open(path)) > 0) * np.uint8(254))
        mask = np.array(share.resize((202, 202), Image.Resampling.BILINEAR))
        mask[:ignored_rows] = 255
        Image.fromarray(mask).save(path)


def test_the_store_holds_the_tiles_as_they_were_drawn(kaggle: KaggleFolder, tmp_path: Path) -> None:
    ingest(kaggle.root, tmp_path / "out", "native")
    store = open_store(tmp_path / "out")
    assert store.table["id"].tolist() == ["dead", "rock", "salt", "t1", "t2"]
    for row, (split, name) in enumerate(zip(store.table["split"], store.table["id"], strict=True)):
        np.testing.assert_array_equal(
            store.images[row], kaggle.picture(f"{split}/images/{name}.png")
        )
    assert store.masks.shape == store.ignore.shape == (3, 101, 101)
    assert store.masks.sum(axis=(1, 2)).tolist() == [0, 0, 6] and not store.ignore.any()


def test_the_table_describes_each_tile(kaggle: KaggleFolder, tmp_path: Path) -> None:
    ingest(kaggle.root, tmp_path / "out", "native")
    table = open_store(tmp_path / "out").table
    assert list(table) == COLUMNS
    np.testing.assert_array_equal(table["depth"], [np.nan, 157.5, 306, 11, 22])
    np.testing.assert_array_equal(table["salt_fraction"], [0, 0, 6 / 10201, np.nan, np.nan])
    assert table["coverage_class"].tolist() == [0, 0, 1, -1, -1]
    assert table["is_constant"].tolist() == [True, False, False, False, False]
    assert not table["is_vertical"].any()
    assert table["sha256"][0] == hashlib.sha256(bytes(10201)).hexdigest()


def test_a_mask_of_pure_columns_is_flagged_vertical(kaggle: KaggleFolder, tmp_path: Path) -> None:
    mask = np.zeros((101, 101), np.uint8)
    mask[50:, 7:9] = 255
    kaggle.draw("train/masks/salt.png", mask)
    kaggle.table("train.csv", "id,rle_mask", "salt,758 51 859 51", "rock,", "dead,")
    ingest(kaggle.root, tmp_path / "out", "native")
    assert open_store(tmp_path / "out").table["is_vertical"].tolist() == [0, 0, 1, 0, 0]


def test_the_sample_submission_keeps_its_order(kaggle: KaggleFolder, tmp_path: Path) -> None:
    ingest(kaggle.root, tmp_path / "out", "native")
    written = (tmp_path / "out/sample_submission.csv").read_text()
    assert written == "id,rle_mask\nt2,1 1\nt1,1 1\n"


def test_neighbours_brought_along_are_kept_as_they_are(tmp_path: Path) -> None:
    brought = b"id,left,right,up,down\r\nany,,,,\r\n"
    (tmp_path / "neighbours.csv").write_bytes(brought)
    keep_neighbours(tmp_path, tmp_path / "out")
    assert (tmp_path / "out/neighbours.csv").read_bytes() == brought
    keep_neighbours(tmp_path / "elsewhere", tmp_path / "out")
    assert (tmp_path / "out/neighbours.csv").read_bytes() == b"id,left,right,up,down\n"


def test_the_summary_counts_what_was_found(kaggle: KaggleFolder, tmp_path: Path) -> None:
    ingest(kaggle.root, tmp_path / "out", "native")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    expected = {"tiles": 5, "labelled": 3, "without_salt": 2, "constant_labelled": 1}
    expected |= {"constant_unlabelled": 0, "without_depth": 1, "ignored_pixels": 0}
    assert expected.items() <= summary.items()
    assert summary["masks_from"] == ["masks/*.png", "train.csv"]


def test_packed_or_not_the_bytes_are_the_same(kaggle: KaggleFolder, tmp_path: Path) -> None:
    ingest(kaggle.root, tmp_path / "a", "native")
    kaggle.pack("train")
    kaggle.pack("test", prefix="with folder")
    ingest(kaggle.root, tmp_path / "b", "native")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_positions_follow_the_columns_of_every_store(kaggle: KaggleFolder, tmp_path: Path) -> None:
    rows = [f"{name},0,{i},{i},0" for i, name in enumerate(["t2", "t1", "salt", "rock", "dead"])]
    kaggle.table("geometry.csv", "id,volume,inline,crossline,sample", *rows)
    ingest(kaggle.root, tmp_path / "out", "native")
    table = open_store(tmp_path / "out").table
    assert list(table) == [*COLUMNS, "volume", "inline", "crossline", "sample"]
    assert table["inline"].tolist() == [4, 3, 2, 1, 0]


def test_upscaled_tiles_give_the_store_of_the_plain_ones(
    kaggle: KaggleFolder, tmp_path: Path
) -> None:
    ingest(kaggle.root, tmp_path / "plain", "native")
    upscale(kaggle)
    ingest(kaggle.root, tmp_path / "upscaled", "upscaled_202")
    plain, upscaled = contents(tmp_path / "plain"), contents(tmp_path / "upscaled")
    assert plain.pop("summary.json") != upscaled.pop("summary.json")  # it names the format
    assert plain == upscaled


def test_ignored_pixels_are_kept_apart_and_do_not_count(
    kaggle: KaggleFolder, tmp_path: Path
) -> None:
    upscale(kaggle, ignored_rows=7)  # 3 whole rows of blocks and half of the fourth
    ingest(kaggle.root, tmp_path / "out", "upscaled_202")
    store = open_store(tmp_path / "out")
    assert store.ignore[:, :4].all() and not store.ignore[:, 4:].any()
    assert store.masks[2].sum() == 2  # of rows 2 to 4 the last remains
    assert store.table["salt_fraction"][2] == 2 / (97 * 101)


def test_salt_written_as_255_in_upscaled_masks_is_not_ignored_silently(
    kaggle: KaggleFolder, tmp_path: Path
) -> None:
    upscale(kaggle)
    kaggle.draw("train/masks/salt.png", np.full((202, 202), 255, np.uint8))
    with pytest.raises(InputError, match=r"no salt in any mask, and 10201 ignored pixels"):
        ingest(kaggle.root, tmp_path / "out", "upscaled_202")


def test_a_refused_input_leaves_an_earlier_store_untouched(
    kaggle: KaggleFolder, tmp_path: Path
) -> None:
    ingest(kaggle.root, tmp_path / "out", "native")
    before = contents(tmp_path / "out")
    kaggle.path("test/images/t2.png").write_bytes(b"<html>")  # the last tile to be read
    with pytest.raises(InputError, match=r"test/images/t2\.png: not a PNG"):
        ingest(kaggle.root, tmp_path / "out", "native")
    assert contents(tmp_path / "out") == before


def test_a_refused_input_writes_nothing(kaggle: KaggleFolder, tmp_path: Path) -> None:
    shutil.rmtree(kaggle.path("train"))
    with pytest.raises(InputError):
        ingest(kaggle.root, tmp_path / "out", "native")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not TGS.is_dir(), reason="the TGS competition data is not here")
def test_the_real_download_is_read_whole(tmp_path: Path) -> None:
    ingest(TGS, tmp_path, "native")
    store = open_store(tmp_path)
    assert store.images.shape == (22000, 101, 101) and store.masks.shape == (3000, 101, 101)
    table = pd.read_csv(TGS / "train.csv", keep_default_na=False)
    empty = set(table.loc[table["rle_mask"] == "", "id"])
    assert set(store.labelled.loc[store.labelled["salt_fraction"] == 0, "id"]) == empty
    assert store.table["is_constant"].sum() == 510  # as the data's own notes count them
    duplicates = store.table[store.table["sha256"].duplicated(keep=False)]
    assert duplicates["is_constant"].all() and len(duplicates) == 510
    assert store.table["depth"].notna().all()

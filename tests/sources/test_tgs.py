import shutil
import zipfile

import numpy as np
import pytest
from kaggle_folder import KaggleFolder

from salt.errors import InputError
from salt.sources.tgs import open_kaggle


def read_all(kaggle: KaggleFolder) -> dict[str, list[np.ndarray]]:
    """Return [image, mask, ignore] of labelled tiles and [image] of others."""
    with open_kaggle(kaggle.root, "native") as survey:
        return {
            name: [survey.image(split, name), *(survey.label(name) if split == "train" else ())]
            for split, name in zip(survey.tiles["split"], survey.tiles["id"], strict=True)
        }


def refusal(kaggle: KaggleFolder) -> str:
    """Return the one line with which reading the data set ends."""
    with pytest.raises(InputError) as error:
        read_all(kaggle)
    message = str(error.value)
    assert "\n" not in message and "expected" in message
    return message.replace(str(kaggle.root), "raw")


def test_labelled_tiles_come_first_and_sorted(kaggle: KaggleFolder) -> None:
    with open_kaggle(kaggle.root, "native") as survey:
        assert survey.tiles["id"].tolist() == ["dead", "rock", "salt", "t1", "t2"]
        assert survey.tiles["split"].tolist() == ["train"] * 3 + ["test"] * 2
        assert survey.sample["id"].tolist() == ["t2", "t1"]  # a submission keeps this order


def test_an_id_without_depth_has_none(kaggle: KaggleFolder) -> None:
    with open_kaggle(kaggle.root, "native") as survey:
        np.testing.assert_array_equal(survey.tiles["depth"], [np.nan, 157.5, 306, 11, 22])


def test_eight_and_sixteen_bit_masks_are_read_alike(kaggle: KaggleFolder) -> None:
    tiles = read_all(kaggle)
    assert np.argwhere(tiles["salt"][1]).tolist() == [[r, c] for r in (2, 3, 4) for c in (1, 2)]
    assert tiles["salt"][1].max() == 1 and not tiles["rock"][1].any()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colour_modes_do_not_change_a_tile(kaggle: KaggleFolder, mode: str) -> None:
    grey = kaggle.picture("train/images/rock.png")
    kaggle.draw("train/images/rock.png", grey, mode)
    np.testing.assert_array_equal(read_all(kaggle)["rock"][0], grey)


@pytest.mark.parametrize("prefix", ["", "with folder"])
def test_zips_read_the_same_as_folders(kaggle: KaggleFolder, prefix: str) -> None:
    from_folders = read_all(kaggle)
    for split in ("train", "test"):
        kaggle.pack(split, prefix)
    before = sorted(kaggle.root.iterdir())
    from_zips = read_all(kaggle)
    for name, parts in from_folders.items():
        np.testing.assert_array_equal(from_zips[name], parts)
    assert sorted(kaggle.root.iterdir()) == before  # nothing was unpacked


def test_a_folder_unpacked_with_its_own_name_inside_is_read(kaggle: KaggleFolder) -> None:
    kaggle.path("train").rename(kaggle.path("inner"))
    kaggle.path("train").mkdir()
    kaggle.path("inner").rename(kaggle.path("train/train"))
    assert len(read_all(kaggle)) == 5


def test_an_unpacked_folder_is_taken_before_its_zip(kaggle: KaggleFolder) -> None:
    kaggle.path("train.zip").write_bytes(b"half a download")
    assert len(read_all(kaggle)) == 5


def test_hidden_files_and_a_macs_extras_are_not_tiles(kaggle: KaggleFolder) -> None:
    kaggle.path("train/images/.DS_Store").write_bytes(b"")
    kaggle.path("train/__MACOSX/images").mkdir(parents=True)
    kaggle.path("train/__MACOSX/images/._salt.png").write_bytes(b"")
    assert len(read_all(kaggle)) == 5


def test_masks_come_from_run_lengths_where_there_are_no_pictures(kaggle: KaggleFolder) -> None:
    drawn = read_all(kaggle)
    shutil.rmtree(kaggle.path("train/masks"))
    for name, parts in read_all(kaggle).items():
        np.testing.assert_array_equal(parts, drawn[name])


def test_masks_come_from_pictures_where_there_are_no_run_lengths(kaggle: KaggleFolder) -> None:
    drawn = read_all(kaggle)
    kaggle.table("train.csv", "id", "salt", "rock", "dead")
    for name, parts in read_all(kaggle).items():
        np.testing.assert_array_equal(parts, drawn[name])


def test_no_masks_at_all_are_refused(kaggle: KaggleFolder) -> None:
    kaggle.table("train.csv", "id", "salt", "rock", "dead")
    shutil.rmtree(kaggle.path("train/masks"))
    assert refusal(kaggle).startswith("raw/train: no masks/, and raw/train.csv has no column")


def test_a_mask_that_disagrees_with_its_run_lengths_is_counted(kaggle: KaggleFolder) -> None:
    kaggle.table("train.csv", "id,rle_mask", "rock,", "salt,104 3 205 1 207 2", "dead,")
    assert refusal(kaggle).startswith(
        "id salt: raw/train/masks/salt.png and raw/train.csv line 3 disagree in 2 pixels; expected"
    )


def test_a_malformed_run_length_names_its_line_and_run(kaggle: KaggleFolder) -> None:
    kaggle.table("train.csv", "id,rle_mask", "rock,", "salt,104 3 205", "dead,")
    assert refusal(kaggle).startswith(
        "raw/train.csv line 3, id salt: run 2 has a start (205) and no length"
    )


def test_positions_are_joined_where_they_are_known(kaggle: KaggleFolder) -> None:
    rows = [f"{name},0,{i},{10 * i},0" for i, name in enumerate(["t2", "t1", "salt", "rock"])]
    header = "id,volume,inline,crossline,sample"
    kaggle.table("geometry.csv", header, *rows, "dead,1,7,70,0")
    with open_kaggle(kaggle.root, "native") as survey:
        assert survey.tiles["inline"].tolist() == [7, 3, 2, 1, 0]
        assert survey.tiles["volume"].tolist() == [1, 0, 0, 0, 0]
        assert survey.tiles["crossline"].dtype == np.int64
    kaggle.table("geometry.csv", header, *rows)
    assert refusal(kaggle).startswith("raw/geometry.csv: no row for 1 of 5 tiles, the first 'dead'")


def test_an_absent_folder_says_where_kaggles_files_go(kaggle: KaggleFolder) -> None:
    shutil.rmtree(kaggle.root)
    message = refusal(kaggle)
    assert message.startswith("raw: no such folder; expected Kaggle's train.csv, depths.csv")
    assert "set data.source: demo" in message


def test_all_missing_files_are_named_at_once(kaggle: KaggleFolder) -> None:
    kaggle.path("depths.csv").unlink()
    shutil.rmtree(kaggle.path("test"))
    assert refusal(kaggle).startswith("raw: has no depths.csv, test.zip; expected")


def test_fewer_images_than_the_table_are_counted(kaggle: KaggleFolder) -> None:
    kaggle.path("test/images/t1.png").unlink()
    assert refusal(kaggle).startswith(
        "raw/test: 1 images for 2 ids of raw/sample_submission.csv; 1 missing, the first "
        "images/t1.png; expected"
    )


def test_fewer_masks_than_images_are_counted(kaggle: KaggleFolder) -> None:
    kaggle.path("train/masks/rock.png").unlink()
    kaggle.pack("train")
    assert refusal(kaggle).startswith(
        "raw/train.zip: 2 masks for 3 images; 1 missing, the first masks/rock.png; expected"
    )


def test_images_left_over_are_refused(kaggle: KaggleFolder) -> None:
    kaggle.table("sample_submission.csv", "id,rle_mask", "t2,1 1")
    assert refusal(kaggle).startswith(
        "raw/test: 2 images for 1 ids of raw/sample_submission.csv, which lacks 't1'"
    )


def test_a_mask_without_an_image_is_refused(kaggle: KaggleFolder) -> None:
    shutil.copy(kaggle.path("train/masks/rock.png"), kaggle.path("train/masks/other.png"))
    assert refusal(kaggle).startswith("raw/train/masks/other.png: a mask without an image")


def test_a_tile_in_both_splits_is_refused(kaggle: KaggleFolder) -> None:
    kaggle.table("sample_submission.csv", "id,rle_mask", "t2,1 1", "t1,1 1", "salt,1 1")
    assert refusal(kaggle).startswith(
        "raw/sample_submission.csv line 4: id 'salt' is in train.csv too"
    )


@pytest.mark.parametrize("name", ["a b.png", "rock.jpg", "x\n.png", "Thumbs.db"])
def test_a_file_that_names_no_tile_is_refused(kaggle: KaggleFolder, name: str) -> None:
    kaggle.path(f"train/images/{name}").write_bytes(b"")
    assert f"{name!r}"[1:-1] in refusal(kaggle)


def test_the_same_tile_in_two_places_is_refused(kaggle: KaggleFolder) -> None:
    shutil.copytree(kaggle.path("test/images"), kaggle.path("test/test/images"))
    assert refusal(kaggle).startswith(
        "raw/test/test/images/t1.png: the same tile as raw/test/images/t1.png"
    )


def test_a_truncated_png_names_the_file(kaggle: KaggleFolder) -> None:
    path = kaggle.path("train/images/rock.png")
    path.write_bytes(path.read_bytes()[:-20])
    assert refusal(kaggle).startswith("raw/train/images/rock.png: truncated PNG")


def test_a_wrong_size_names_the_file_in_the_zip(kaggle: KaggleFolder) -> None:
    kaggle.draw("test/images/t1.png", np.zeros((101, 128), np.uint8))
    kaggle.pack("test")
    assert refusal(kaggle).startswith("raw/test.zip: images/t1.png: 128x101 pixels; expected")


def test_a_damaged_zip_is_named(kaggle: KaggleFolder) -> None:
    kaggle.pack("test")
    path = kaggle.path("test.zip")
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(kaggle).startswith("raw/test.zip: damaged or not a zip")


def test_a_zip_that_reaches_outside_is_refused(kaggle: KaggleFolder) -> None:
    kaggle.pack("test")
    with zipfile.ZipFile(kaggle.path("test.zip"), "a") as archive:
        archive.writestr("images/../../x.png", b"")
    assert refusal(kaggle).startswith("raw/test.zip: holds 'images/../../x.png'")


@pytest.mark.parametrize("table", ["train.csv", "sample_submission.csv", "depths.csv"])
@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b"])
def test_an_id_that_is_no_plain_name_is_refused(
    kaggle: KaggleFolder, table: str, name: str
) -> None:
    lines = kaggle.path(table).read_text().splitlines()
    kaggle.table(table, *lines, f"{name},1")
    message = refusal(kaggle)
    assert message.startswith(f"raw/{table} line {len(lines) + 1}: id ")
    assert "not a plain name" in message


@pytest.mark.parametrize(
    ("table", "column"),
    [("train.csv", "id"), ("sample_submission.csv", "rle_mask"), ("depths.csv", "z")],
)
def test_a_missing_column_is_named(kaggle: KaggleFolder, table: str, column: str) -> None:
    kaggle.path(table).write_text(kaggle.path(table).read_text().replace(column, "other", 1))
    assert f"raw/{table}: columns " in refusal(kaggle)
    assert f"no '{column}'" in refusal(kaggle)


@pytest.mark.parametrize("table", ["train.csv", "sample_submission.csv", "depths.csv"])
def test_a_duplicate_id_is_refused(kaggle: KaggleFolder, table: str) -> None:
    lines = kaggle.path(table).read_text().splitlines()
    kaggle.table(table, *lines, lines[1])
    assert f"raw/{table} line {len(lines) + 1}: id " in refusal(kaggle)
    assert "is already in line 2" in refusal(kaggle)

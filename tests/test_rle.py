from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salt.errors import InputError
from salt.rle import decode, encode

TGS = Path(__file__).resolve().parents[1] / "../shared/data/tgs"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["..", ".."], ""),
        (["#.", ".."], "1 1"),
        (["..", "#."], "2 1"),  # pixels run down the column first
        ([".#", ".."], "3 1"),
        (["..", ".#"], "4 1"),
        (["##", ".."], "1 1 3 1"),
        (["##", "##"], "1 4"),
        ([".#", "#."], "2 2"),  # a run goes on into the next column
        (["#..", ".#.", "..#"], "1 1 5 1 9 1"),
        (["...#", "####"], "2 1 4 1 6 3"),
    ],
)
def test_hand_made_masks_in_both_directions(rows: list[str], text: str) -> None:
    mask = np.array([[pixel == "#" for pixel in row] for row in rows], dtype=np.uint8)
    assert encode(mask) == text
    np.testing.assert_array_equal(decode(text, *mask.shape), mask)


def test_encoding_takes_any_non_zero_value_and_any_memory_order() -> None:
    mask = np.asfortranarray(np.array([[0, 255], [0, 65535]], dtype=np.uint16))
    assert encode(mask) == "3 2"


def test_a_decoded_mask_is_a_plain_array_of_bytes() -> None:
    mask = decode("1 10201", 101, 101)
    assert mask.dtype == np.uint8 and mask.flags.c_contiguous and mask.flags.writeable
    assert mask.shape == (101, 101) and mask.all()


def test_random_masks_survive_the_round_trip() -> None:
    generator = np.random.default_rng(0)
    for share in (0.01, 0.5, 0.99):
        mask = (generator.random((101, 97)) < share).astype(np.uint8)
        np.testing.assert_array_equal(decode(encode(mask), *mask.shape), mask)


def test_touching_runs_are_accepted() -> None:
    assert encode(decode("1 2 3 2", 4, 4)) == "1 4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7", "run 1 has a start (7) and no length"),
        ("1 2 7", "run 2 has a start (7) and no length"),
        ("1 2 7 1.5", "run 2 has '1.5'"),
        ("a 2", "run 1 has 'a'"),
        ("1 -2", "run 1 has '-2'"),
        ("1 2 +3 4", "run 2 has '+3'"),
        ("1 2 3\N{SUPERSCRIPT TWO} 4", "run 2 has '3²'"),
        ("nan", "run 1 has 'nan'"),
        ("0 1", "run 1 (0 1) is not inside the mask"),
        ("1 1 3 0", "run 2 (3 0) is not inside the mask"),
        ("1 1 16 2", "run 2 (16 2) is not inside the mask"),
        ("17 1", "run 1 (17 1) is not inside the mask"),
        ("1 99999999999999999999999", "run 1 (1 9223372036854775807) is not inside the mask"),
        ("9223372036854775807 9223372036854775807", "run 1"),
        ("1 3 3 1", "run 2 (3 1) overlaps run 1 (1 3)"),
        ("2 1 2 1", "run 2 (2 1) overlaps run 1 (2 1)"),
        ("1 1 9 1 5 1", "run 3 (5 1) comes before run 2 (9 1)"),
        ("5 1 99 1 1 1", "run 2 (99 1) is not inside the mask"),  # the first of two faults
    ],
)
def test_malformed_run_lengths_name_the_first_wrong_run(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        decode(text, 4, 4)
    assert message in str(error.value)
    assert "expected" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not TGS.is_dir(), reason="the TGS competition data is not here")
def test_all_real_masks_agree_with_their_run_lengths(tmp_path: Path) -> None:
    from zipfile import ZipFile

    table = pd.read_csv(TGS / "train.csv", keep_default_na=False)
    assert len(table) == 3000
    with ZipFile(TGS / "train.zip") as pictures:
        for name, text in zip(table["id"], table["rle_mask"], strict=True):
            with pictures.open(f"masks/{name}.png") as png:
                mask = np.asarray(Image.open(png)) > 0
            np.testing.assert_array_equal(decode(text, 101, 101), mask)
            assert encode(mask) == text

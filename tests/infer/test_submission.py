"""Submissions written from hand-made maps, and broken ones refused by row."""

import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salt.errors import StoreError, SubmissionError
from salt.files import write_array, write_csv, write_json
from salt.infer.rule import Rule
from salt.infer.submission import make_submission, validate_submission
from salt.rle import decode
from salt.store import TILE_SIZE

ROOT = Path(__file__).resolve().parents[2]
TGS = ROOT / "../shared/data/tgs"
SAMPLE = "id,rle_mask\nb,1 1\na,1 1\n007,1 1\n"  # in no alphabetical order, one id of digits


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample_submission.csv"
    path.write_text(SAMPLE)
    return path


def submission(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "submission.csv"
    path.write_text(content, newline="")
    return path


VALID = "id,rle_mask\nb,\na,1 3 102 2\n007,10201 1\n"


def test_a_valid_submission_gives_the_share_of_salt_of_each_tile(tmp_path, sample):
    coverage = validate_submission(submission(tmp_path, VALID), sample)
    assert (coverage * TILE_SIZE**2).round(9).tolist() == [0, 5, 1]


def test_windows_line_ends_a_byte_order_mark_and_gzip_are_accepted(tmp_path, sample):
    windows = submission(tmp_path, "\ufeff" + VALID.replace("\n", "\r\n"))
    assert len(validate_submission(windows, sample)) == 3
    packed = tmp_path / "submission.csv.gz"
    packed.write_bytes(gzip.compress(VALID.encode()))
    assert len(validate_submission(packed, sample)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 1: columns \[\]; expected \['id', 'rle_mask'\]"),
        ("id,mask\nb,\na,\n007,\n", r"line 1: columns \['id', 'mask'\]"),
        ("rle_mask,id\n,b\n,a\n,007\n", r"line 1: columns \['rle_mask', 'id'\]"),
        (",id,rle_mask\n0,b,\n1,a,\n2,007,\n", "line 1: columns"),
        ("id,rle_mask\nb,\na\n007,\n", "line 3: 1 fields; expected 2"),
        ("id,rle_mask\nb,\na,1 3,\n007,\n", "line 3: 3 fields; expected 2"),
        ("id,rle_mask\nb,\n\na,\n007,\n", "line 3: 0 fields; expected 2"),
        ("id,rle_mask\nb,\na,\n", "no row for id '007', row 3 of the sample"),
        ("id,rle_mask\nb,\na,\n7,\n", "line 4: id '7' is not in the sample"),
        ("id,rle_mask\nb,\na,\n007,\nc,\nd,\n", r"line 5: id 'c' .*\(2 such rows\)"),
        ("id,rle_mask\nb,\na,\n007,\na,1 1\n", "line 5: id 'a' again, first on line 3"),
        ("id,rle_mask\na,\nb,\n007,\n", "line 2: id 'a' out of order; expected 'b'"),
        ("id,rle_mask\nb,\na,1 x\n007,\n", "line 3, id 'a': run 1"),
        ("id,rle_mask\nb,\na,nan\n007,\n", "line 3, id 'a': run 1"),
        ("id,rle_mask\nb,\na,1 2 5\n007,\n", "line 3, id 'a': run 2"),
        ("id,rle_mask\nb,\na,0 2\n007,\n", "line 3, id 'a': run 1"),
        ("id,rle_mask\nb,\na,1 0\n007,\n", "line 3, id 'a': run 1"),
        ("id,rle_mask\nb,\na,1 -2\n007,\n", "line 3, id 'a': run 1"),
        ("id,rle_mask\nb,\na,\n007,10201 2\n", "line 4, id '007': run 1"),
        ("id,rle_mask\nb,\na,1 5 5 2\n007,\n", r"line 3, id 'a': run 2 .*overlaps"),
        ("id,rle_mask\nb,\na,9 1 5 2\n007,\n", "line 3, id 'a': run 2"),
    ],
)
def test_a_broken_submission_is_refused_by_row(tmp_path, sample, content, message):
    with pytest.raises(SubmissionError, match=message) as caught:
        validate_submission(submission(tmp_path, content), sample)
    assert "\n" not in str(caught.value)


def test_a_submission_that_is_missing_or_not_text_is_refused(tmp_path, sample):
    with pytest.raises(SubmissionError, match=r"absent\.csv: cannot be read"):
        validate_submission(tmp_path / "absent.csv", sample)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SubmissionError, match="cannot be read"):
        validate_submission(binary, sample)
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(VALID.encode() * 50)[:40])
    with pytest.raises(SubmissionError, match="cannot be read"):
        validate_submission(broken, sample)


def test_a_sample_with_a_repeated_id_or_without_rows_is_refused(tmp_path):
    sample, valid = tmp_path / "sample.csv", submission(tmp_path, VALID)
    sample.write_text("id,rle_mask\nb,1 1\nb,1 1\n")
    with pytest.raises(SubmissionError, match=r"sample.csv, line 3: id 'b' again"):
        validate_submission(valid, sample)
    sample.write_text("id,rle_mask\n")
    with pytest.raises(SubmissionError, match=r"sample.csv: no rows"):
        validate_submission(valid, sample)


def hand_made_masks() -> dict[str, np.ndarray]:
    """Return masks whose runs are plain: none, two pieces in two columns, the last pixel."""
    masks = {name: np.zeros((TILE_SIZE, TILE_SIZE), np.uint8) for name in ("b", "a", "007")}
    masks["a"][:3, 0] = 1
    masks["a"][0:2, 1] = 1
    masks["007"][-1, -1] = 1
    return masks


@pytest.fixture
def folders(tmp_path: Path, sample: Path) -> dict[str, Path]:
    """Return the arguments of `make_submission`, for test tiles stored in order of id."""
    masks = hand_made_masks()
    ids = sorted(masks)
    maps = np.stack([masks[name] for name in ids]) * np.float16(0.75) + np.float16(0.125)
    write_array(tmp_path / "ensemble" / "test_probability.npy", maps.astype(np.float16))
    write_csv(
        tmp_path / "ensemble" / "test_tiles.csv", pd.DataFrame({"id": ids, "presence": np.nan})
    )
    write_csv(
        tmp_path / "ingest" / "tiles.csv",
        pd.DataFrame({"id": ["t", *ids], "split": ["train"] + ["test"] * 3, "salt_fraction": 0.0}),
    )
    sample.rename(tmp_path / "ingest" / sample.name)
    rule = Rule(threshold=0.5, minimum_size=0, presence_gate=0.4)
    write_json(tmp_path / "rule.json", asdict(rule))
    return {
        "ensemble": tmp_path / "ensemble",
        "rule_file": tmp_path / "rule.json",
        "ingest": tmp_path / "ingest",
        "output": tmp_path / "submit",
    }


def test_the_submission_holds_the_masks_in_the_order_of_the_sample(folders):
    make_submission(**folders)
    written = (folders["output"] / "submission.csv").read_text()
    assert written == VALID
    masks = hand_made_masks()
    for line in written.splitlines()[1:]:
        name, runs = line.split(",")
        assert (decode(runs, TILE_SIZE, TILE_SIZE) == masks[name]).all()
    sample = folders["ingest"] / "sample_submission.csv"
    validate_submission(folders["output"] / "submission.csv", sample)


def test_the_summary_compares_coverage_with_training(folders):
    warnings = make_submission(**folders)
    summary = json.loads((folders["output"] / "summary.json").read_text())
    assert summary["submission"]["tiles"] == 3
    assert summary["submission"]["empty_share"] == pytest.approx(1 / 3)
    assert summary["training"]["tiles"] == 1
    assert summary["training"]["empty_share"] == 1.0
    assert summary["rule"]["threshold"] == 0.5
    assert summary["warnings"] == warnings == []  # four tiles are too few to tell


def test_the_rule_is_applied_to_tiles_with_presence(folders):
    write_csv(
        folders["ensemble"] / "test_tiles.csv",
        pd.DataFrame({"id": ["007", "a", "b"], "presence": [0.3, 0.9, 0.9]}),
    )
    make_submission(**folders)
    written = (folders["output"] / "submission.csv").read_text()
    assert written == VALID.replace("10201 1", "")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["007", "a", "c"], r"id 'b' occurs 0 times, in the sample submission 1 times \(2"),
        (["007", "a", "a"], r"id 'b' occurs 0 times"),
        (["007", "a"], r"2 rows for maps \(3, 101, 101\)"),
    ],
)
def test_test_maps_that_do_not_fit_the_sample_are_refused(folders, ids, message):
    tiles = pd.DataFrame({"id": ids, "presence": np.nan})
    write_csv(folders["ensemble"] / "test_tiles.csv", tiles)
    with pytest.raises(StoreError, match=message):
        make_submission(**folders)
    assert not folders["output"].exists()


def test_a_map_that_is_not_a_probability_leaves_nothing_behind(folders):
    maps = np.load(folders["ensemble"] / "test_probability.npy")
    maps[1, 5, 5] = np.nan
    write_array(folders["ensemble"] / "test_probability.npy", maps)
    with pytest.raises(StoreError, match="a probability of nan"):
        make_submission(**folders)
    assert not folders["output"].exists()


def run_command(*arguments: str, path: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "salt.infer.submission", *arguments]
    environment = os.environ | ({"PATH": path} if path else {})
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_says_that_a_submission_is_valid(tmp_path, sample):
    done = run_command(str(submission(tmp_path, VALID)), str(sample))
    assert done.returncode == 0
    assert "valid; 3 rows, 33.3% without salt" in done.stdout


def test_the_command_ends_in_one_line_on_a_broken_submission(tmp_path, sample):
    broken = submission(tmp_path, VALID.replace("102 2", "2 2"))
    done = run_command(str(broken), str(sample))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "line 3, id 'a': run 2" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run_command("only-one").returncode == 1


def fake_client(folder: Path, code: int) -> str:
    """Put a `kaggle` into a folder that repeats what it was told; return the folder."""
    client = folder / "bin/kaggle"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\necho told: "$@"\necho token? >&2\nexit {code}\n')
    client.chmod(0o755)
    return str(client.parent)


def test_a_valid_submission_is_uploaded_through_kaggles_client(tmp_path, sample):
    file = submission(tmp_path, VALID)
    words = ("--upload", str(file), str(sample), "-m", "my best")
    done = run_command(*words, path=fake_client(tmp_path, 0))
    told = f"competitions submit tgs-salt-identification-challenge -f {file} -m my best"
    assert done.stdout.splitlines()[1] == f"told: {told} token?"
    assert done.returncode == 0


def test_what_kaggles_client_complains_of_ends_in_one_line(tmp_path, sample):
    words = ("--upload", str(submission(tmp_path, VALID)), str(sample))
    done = run_command(*words, path=fake_client(tmp_path, 3))
    assert done.returncode == 1
    assert re.match(r"error: .*failed with code 3 \(told: .* token\?\)", done.stderr)
    assert done.stderr.count("\n") == 1


def test_without_kaggles_client_the_upload_says_how_to_get_it(tmp_path, sample):
    words = ("--upload", str(submission(tmp_path, VALID)), str(sample), "-m", "x")
    done = run_command(*words, path=str(tmp_path))
    assert done.returncode == 1
    assert "no command `kaggle`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broken_submission_is_not_uploaded(tmp_path, sample):
    broken = submission(tmp_path, VALID.replace("102 2", "2 2"))
    done = run_command("--upload", str(broken), str(sample), path=fake_client(tmp_path, 0))
    assert done.returncode == 1
    assert "told:" not in done.stdout + done.stderr


@pytest.mark.skipif(not TGS.is_dir(), reason="the TGS data is not beside the project")
def test_the_competition_s_own_sample_validates_against_itself():
    path = TGS / "sample_submission.csv"
    coverage = validate_submission(path, path)
    assert len(coverage) == 19000
    assert (coverage == 1 / TILE_SIZE**2).all()

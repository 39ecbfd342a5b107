"""A tiny data set in Kaggle's layout, valid until a test spoils it."""

from pathlib import Path

import numpy as np
import pytest
from kaggle_folder import KaggleFolder


@pytest.fixture
def kaggle(tmp_path: Path) -> KaggleFolder:
    """Three labelled tiles (`salt`: block of 6, `rock`: none, `dead`: constant) and two others."""
    folder = KaggleFolder(tmp_path / "raw")
    generator = np.random.default_rng(0)
    for name in ("train/images/salt", "train/images/rock", "test/images/t2", "test/images/t1"):
        folder.draw(f"{name}.png", generator.integers(0, 256, (101, 101), dtype=np.uint8))
    folder.draw("train/images/dead.png", np.zeros((101, 101), np.uint8))
    salt = np.zeros((101, 101), np.uint16)
    salt[2:5, 1:3] = 65535  # columns 1 and 2, rows 2 to 4: runs at 101 + 3 and 202 + 3
    folder.draw("train/masks/salt.png", salt)
    for name in ("rock", "dead"):
        folder.draw(f"train/masks/{name}.png", np.zeros((101, 101), np.uint8))
    folder.table("train.csv", "id,rle_mask", "salt,104 3 205 3", "rock,", "dead,")
    folder.table("sample_submission.csv", "id,rle_mask", "t2,1 1", "t1,1 1")
    folder.table("depths.csv", "id,z", "t1,11", "salt,306", "rock,157.5", "t2,22")
    return folder

"""Seeds: the same names give the same stream everywhere, other names another one."""

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from salt.seeding import derive_seed, generator, seed_everything

PROJECT = Path(__file__).resolve().parents[1]


def test_the_seed_is_the_first_63_bits_of_a_digest():
    digest = hashlib.sha256(b"2018/train/0").digest()
    assert derive_seed(2018, "train", 0) == int.from_bytes(digest[:8], "little") // 2


def test_another_process_derives_the_same_seed():
    code = "from salt.seeding import derive_seed; print(derive_seed(1, 'train', 2))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == derive_seed(1, "train", 2)


def test_every_name_and_their_order_matter():
    seeds = [
        derive_seed(1),
        derive_seed(2),
        derive_seed(1, "train"),
        derive_seed(1, "train", 0),
        derive_seed(1, "train", 1),
        derive_seed(1, 0, "train"),
    ]
    assert len(set(seeds)) == len(seeds)


def test_seeds_fit_a_signed_64_bit_integer():
    assert all(0 <= derive_seed(root, "a") < 2**63 for root in range(1000))


def test_generators_repeat_and_leave_the_global_state_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first, second = generator(1, "a").random(5), generator(1, "a").random(5)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    "draw", [random.random, np.random.rand, lambda: torch.rand(1).item()], ids=["py", "np", "torch"]
)
def test_seeding_everything_repeats_each_global_stream(draw):
    seed = seed_everything(1, "train", 0)
    first = draw()
    assert seed_everything(1, "train", 0) == seed
    assert draw() == first
    seed_everything(1, "train", 1)
    assert draw() != first

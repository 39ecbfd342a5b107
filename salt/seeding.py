"""Seeds derived from (root seed, stage, fold, ...), so that no part draws from another's stream.

The library takes generators and never reseeds the global ones, with one exception:
`seed_everything` is called once at the top of a stage, for the third-party code
(weight initialisation, dropout) that only reads torch's global generator.
"""

import hashlib
import random

import numpy as np


def derive_seed(root: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on the root seed and every name, in order.

    SHA-256 rather than `hash`, whose value for text changes from process to process.
    """
    text = "/".join([str(root), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(root: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded from the root seed and the names."""
    return np.random.default_rng(derive_seed(root, *names))


def seed_everything(root: int, *names: str | int) -> int:
    """Seed Python, NumPy and torch globally from the root seed and the names; return the seed."""
    import torch

    seed = derive_seed(root, *names)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return seed

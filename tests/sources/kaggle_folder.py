"""A data set in Kaggle's layout that tests write, pack and spoil."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass
class KaggleFolder:
    """Where the data set lies; names are relative to it, as in `train/images/salt.png`."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def picture(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(self.root / name))

    def draw(self, name: str, pixels: np.ndarray, mode: str | None = None) -> None:
        """Save pixels as PNG, converted to a Pillow mode if one is given."""
        image = Image.fromarray(pixels)
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        (image.convert(mode) if mode else image).save(self.path(name), format="PNG")

    def table(self, name: str, *lines: str) -> None:
        self.path(name).write_text("\n".join(lines) + "\n")

    def pack(self, split: str, prefix: str = "") -> None:
        """Replace the folder of a split by a zip whose members begin with `prefix`."""
        base = self.root if prefix else self.root / split
        shutil.make_archive(str(self.root / split), "zip", base, split if prefix else ".")
        shutil.rmtree(self.root / split)

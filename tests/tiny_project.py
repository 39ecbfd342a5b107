"""A working folder small enough to train in seconds: parameters, tiles, neighbours and folds."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.ndimage import gaussian_filter

from salt import tracking
from salt.files import read_csv, write_csv, write_json
from salt.params import read_yaml
from salt.seeding import generator
from salt.store import COLUMNS, TEST, TILE_SIZE, TRAIN, coverage_class, write_store

PROJECT = Path(__file__).resolve().parents[1]
INLINES = 3  # tiles of a volume, one behind the other
LABELLED_VOLUMES, TEST_VOLUMES, SYNTHETIC = 8, 2, 8
FOLDS = [0, 1]
TINY: dict[str, dict[str, Any]] = {
    "data": {"source": "demo"},
    "demo": {"blocks": 4, "test_blocks": 1, "inlines": 1},
    "index": {"folds": FOLDS, "stack": "volume"},
    "synthesize": {"tiles": 4},
    "pretrain": {"epochs": 2, "batch_size": 8, "mask_ratio": 0.5, "patch_size": 8},
    "model": {
        "architecture": "hybrid",
        "encoder": "swinv2",
        "encoder_width": 16,
        "encoder_depths": [1, 1, 1],
        "encoder_weights": "none",
        "decoder_channels": [16, 16, 8, 8],
        "decoder_dropout": 0.3,
        "attention": "scse",
        "presence_head": True,
        "input_size": 128,
        "stack_width": 3,
    },
    "loss": {"dice_weight": 1.0, "boundary_weight": 0.1, "presence_weight": 0.2},
    "train": {
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "ema_decay": 0.99,
        "early_stopping": 10,
        "score_window": 3,
        "validation_share": 0.25,
        "synthetic_share": 0.5,
        "precision": "fp32",
    },
    "uncertainty": {"passes": 2},
    "refine": {"epochs": 1, "batch_size": 4, "width": 4, "adopt": "auto"},
    "ensemble": {"tta": "flip"},
    "threshold": {"candidates": 3},
    "report": {"gallery_tiles": 2, "bootstrap_samples": 50},
    "runtime": {"device": "cpu", "threads": 1, "workers": 0},
}


def make_project(folder: Path) -> Path:
    """Write params.yaml and what ingest, index and synthesize would; return the folder."""
    write_params(folder)
    draw = generator(7, "tiny project")
    labelled, test = (INLINES * count for count in (LABELLED_VOLUMES, TEST_VOLUMES))
    ids = [f"a{tile:02d}" for tile in range(labelled)] + [f"b{tile:02d}" for tile in range(test)]
    _write_tiles(folder / "data/ingest", draw, ids, labelled)
    sample = pd.DataFrame({"id": ids[labelled:], "rle_mask": ""})
    write_csv(folder / "data/ingest/sample_submission.csv", sample)
    _write_index(folder / "data/index", ids, labelled)
    synthetic_ids = [f"syn_{tile:05d}" for tile in range(SYNTHETIC)]
    _write_tiles(folder / "data/synthesize", draw, synthetic_ids, SYNTHETIC)
    return folder


def lay_in_rows_of_six(folder: Path) -> None:
    """Lay all tiles into one mosaic, six a row, so that tiles of both folds are neighbours."""
    path = folder / "data/index/neighbours.csv"
    table = read_csv(path, ("id", "left", "right", "up", "down", "previous", "next"))
    place = np.arange(len(table))
    table["mosaic"], table["row"], table["column"] = 0, place // 6, place % 6
    write_csv(path, table)


def stack_along_sections(folder: Path) -> None:
    """Lay the tiles of every volume side by side, so that stacks lie along their section."""
    path = folder / "data/index/neighbours.csv"
    table = read_csv(path, ("id", "left", "right", "up", "down", "previous", "next"))
    table["left"], table["right"] = table["previous"], table["next"]
    write_csv(path, table)


def give_depths(folder: Path) -> None:
    """Write depths into the tile store, 10 further down with each tile; the first has none."""
    path = folder / "data/ingest/tiles.csv"
    table = read_csv(path)
    table["depth"] = [np.nan, *(100 + 10.0 * np.arange(1, len(table)))]
    write_csv(path, table)


def tiny_params(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the committed parameters with the tiny sizes and then `changes` by section."""
    params = read_yaml(PROJECT / "params.yaml")
    for overlay in (TINY, changes):
        for section, values in overlay.items():
            params[section] |= values
    return params


def write_params(folder: Path, **changes: dict[str, Any]) -> None:
    """Write `tiny_params` as the folder's params.yaml."""
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(**changes)))


@contextlib.contextmanager
def untracked() -> Iterator[None]:
    """Switch run tracking off: mlflow takes seconds to start, and has its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_open_ledger", lambda *_: None)
        yield


def run_stage(folder: Path, stage: str, *fold: int) -> None:
    """Run a stage in this process, where importing torch is already paid for."""
    module = importlib.import_module(f"stages.{stage}")
    with untracked(), contextlib.chdir(folder):
        module.main(*fold)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def draw_tile(draw: np.random.Generator, empty: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a tile of bright layers with dark salt, easy to learn, and its mask."""
    surface = gaussian_filter(draw.normal(size=(TILE_SIZE, TILE_SIZE)), 16, mode="reflect")
    mask = (surface > np.quantile(surface, draw.uniform(0.5, 0.8))) & (not empty)
    layers = 150 + 40 * np.sin(np.arange(TILE_SIZE)[:, None] / draw.uniform(2, 4))
    speckle = gaussian_filter(draw.normal(size=mask.shape), 1) * 30
    image = np.where(mask, 40, layers) + speckle
    return image.clip(0, 255).astype(np.uint8), mask.astype(np.uint8)


def _write_tiles(folder: Path, draw: np.random.Generator, ids: list[str], labelled: int) -> None:
    drawn = [draw_tile(draw, empty=tile % 4 == 3) for tile in range(len(ids))]
    images, masks = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    fraction = masks.mean(axis=(1, 2))
    is_labelled = np.arange(len(ids)) < labelled
    table = pd.DataFrame({"id": ids, "row": range(len(ids))}).reindex(columns=COLUMNS)
    table["split"] = np.where(is_labelled, TRAIN, TEST)
    table["salt_fraction"] = np.where(is_labelled, fraction, np.nan)
    table["coverage_class"] = np.where(is_labelled, coverage_class(fraction), -1)
    table["is_constant"] = table["is_vertical"] = False
    table["volume"] = np.arange(len(ids)) // INLINES
    table["inline"] = np.arange(len(ids)) % INLINES
    table["crossline"] = table["sample"] = 0
    blank = np.zeros_like(masks[:labelled])
    write_store(folder, table, images, masks[:labelled], blank, {"tiles": len(ids)})


def _write_index(folder: Path, ids: list[str], labelled: int) -> None:
    inline = np.arange(len(ids)) % INLINES
    volume = np.arange(len(ids)) // INLINES
    table = pd.DataFrame({"id": ids})
    for side in ("left", "right", "up", "down"):
        table[side] = ""
    table["mosaic"], table["row"], table["column"] = range(len(ids)), 0, 0
    table["previous"] = np.where(inline > 0, ["", *ids[:-1]], "")
    table["next"] = np.where(inline < INLINES - 1, [*ids[1:], ""], "")
    write_csv(folder / "neighbours.csv", table)
    folds = pd.DataFrame({"id": ids, "fold": volume % len(FOLDS), "group": volume})
    write_csv(folder / "folds.csv", folds[:labelled])
    write_json(folder / "summary.json", {"scheme": "section", "leaking_pairs": 0})

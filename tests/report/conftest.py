"""A finished run made up from a seed: every file the report reads, for a few tiles."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from salt.files import write_array, write_csv, write_json
from salt.infer.drift import coverage_statistics
from salt.infer.rule import Rule, apply_rule
from salt.metrics import tile_scores
from salt.rle import encode
from salt.seeding import generator
from salt.store import COLUMNS, TEST, TILE_SIZE, TRAIN, coverage_class, write_store

FOLDS = [0, 1]
RULE = Rule(threshold=0.4, minimum_size=20, presence_gate=0.1)


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """The data folder of a run on 12 labelled and 6 test tiles, whose truth is known."""
    return fabricate_run(tmp_path / "data")


@pytest.fixture(scope="session")
def fabricate() -> Callable[..., Path]:
    """The function that makes such a folder."""
    return fabricate_run


def fabricate_run(
    data: Path, labelled: int = 12, test: int = 6, with_truth: bool = True, seed: int = 1
) -> Path:
    """Write the outputs of all stages before the report, as the stages would; return `data`."""
    draw = generator(seed, "fabricated run")
    truths = np.stack([_salt(draw, empty=tile % 4 == 3) for tile in range(labelled + test)])
    images = np.stack([_seismic(draw, truth) for truth in truths])
    ids = pd.Series([f"a{tile:03d}" for tile in range(labelled)])
    test_ids = pd.Series([f"b{tile:03d}" for tile in range(test)])
    fold = np.arange(labelled) % len(FOLDS)
    _write_ingest(data / "ingest", ids, test_ids, images, truths[:labelled])
    if with_truth:
        write_array(data / "ingest/truth/masks.npy", truths[labelled:][::-1])
        write_csv(data / "ingest/truth/ids.csv", test_ids[::-1].to_frame("id"))
    _write_index(data / "index", ids, test_ids)
    _write_folds(data, draw, ids, test_ids, fold, truths)
    decided = _write_ensemble(data / "ensemble", draw, ids, test_ids, fold, truths)
    _write_threshold(data / "threshold", ids, fold, decided[:labelled], truths[:labelled])
    runs = [encode(mask) for mask in decided[labelled:]]
    submission = pd.DataFrame({"id": test_ids, "rle_mask": runs})
    write_csv(data / "submit/submission.csv", submission[::-1])
    coverage = {"submission": decided[labelled:], "training": truths[:labelled]}
    statistics = {
        name: coverage_statistics(masks.mean(axis=(1, 2))) for name, masks in coverage.items()
    }
    write_json(data / "submit/summary.json", {"rule": asdict(RULE), "warnings": []} | statistics)
    return data


def _write_index(folder: Path, ids: pd.Series, test_ids: pd.Series) -> None:
    """Two sections: four tiles and a gap in 2 x 3 cells, half of them test, and a pair."""
    table = pd.DataFrame({"id": [*ids, *test_ids]})
    table[["left", "right", "up", "down"]] = ""
    table["mosaic"], table["row"], table["column"] = range(2, 2 + len(table)), 0, 0
    m = len(ids)
    places = {
        0: (0, 0, 0),
        1: (0, 0, 1),
        m: (0, 1, 1),
        m + 1: (0, 1, 2),
        2: (1, 0, 0),
        3: (1, 1, 0),
    }
    for tile, place in places.items():
        table.loc[tile, ["mosaic", "row", "column"]] = place
    write_csv(folder / "neighbours.csv", table)
    write_json(folder / "summary.json", {"scheme": "section", "leaking_pairs": 0})


def _salt(draw: np.random.Generator, empty: bool) -> np.ndarray:
    surface = gaussian_filter(draw.normal(size=(TILE_SIZE, TILE_SIZE)), 14, mode="reflect")
    mask = surface > np.quantile(surface, draw.uniform(0.35, 0.85))
    return (mask & (not empty)).astype(np.uint8)


def _seismic(draw: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Dipping layers, quieter inside salt."""
    rows, columns = np.mgrid[:TILE_SIZE, :TILE_SIZE]
    warp = 6 * gaussian_filter(draw.normal(size=truth.shape), 20) * 20
    layers = np.sin((rows + draw.uniform(-0.3, 0.3) * columns + warp) / draw.uniform(1.5, 3))
    noise = gaussian_filter(draw.normal(size=truth.shape), 1) * 2
    amplitude = layers * (1 - 0.85 * gaussian_filter(truth.astype(float), 1)) + 0.4 * noise
    return (128 + 60 * amplitude).clip(0, 255).astype(np.uint8)


def _probability(draw: np.random.Generator, truths: np.ndarray, error: float) -> np.ndarray:
    noise = np.stack([gaussian_filter(draw.normal(size=truth.shape), 8) for truth in truths])
    soft = np.stack([gaussian_filter(truth.astype(float), 2.5) for truth in truths])
    logits = 7 * (soft - 0.5) + error * 40 * noise
    return (1 / (1 + np.exp(-logits))).astype(np.float16)


def _entropy(probability: np.ndarray) -> np.ndarray:
    p = probability.astype(np.float64).clip(1e-6, 1 - 1e-6)
    return ((-p * np.log(p) - (1 - p) * np.log(1 - p)) / np.log(2) * 255).round().astype(np.uint8)


def _write_ingest(
    folder: Path, ids: pd.Series, test_ids: pd.Series, images: np.ndarray, masks: np.ndarray
) -> None:
    table = pd.DataFrame({"id": [*ids, *test_ids]}).reindex(columns=COLUMNS)
    m, n = len(ids), len(table)
    table["split"] = [TRAIN] * m + [TEST] * (n - m)
    table["row"] = range(n)
    table["depth"] = [100.0 + tile if tile % 3 else np.nan for tile in range(n)]
    table["salt_fraction"] = [*masks.mean(axis=(1, 2)), *[np.nan] * (n - m)]
    table["coverage_class"] = [*coverage_class(masks.mean(axis=(1, 2))), *[-1] * (n - m)]
    table["is_constant"] = table["is_vertical"] = False
    table["sha256"] = "0"
    write_store(folder, table, images, masks, np.zeros_like(masks), {})


def _write_folds(
    data: Path,
    draw: np.random.Generator,
    ids: pd.Series,
    test_ids: pd.Series,
    fold: np.ndarray,
    truths: np.ndarray,
) -> None:
    for name in FOLDS:
        own = fold == name
        train, student, uncertainty, refine = (
            data / stage / str(name) for stage in ("train", "student", "uncertainty", "refine")
        )
        held_out = pd.DataFrame({"id": ids[own], "presence": 0.9, "presence_std": 0.1})
        held_out = held_out[::-1]  # not in store order
        for error, array, table in (
            (1.3, train / "oof_probability.npy", train / "oof_tiles.csv"),
            (1.2, student / "oof_probability.npy", student / "oof_tiles.csv"),
            (1.1, uncertainty / "oof_views.npy", uncertainty / "oof_tiles.csv"),
            (1.0, uncertainty / "oof_mean.npy", uncertainty / "oof_tiles.csv"),
            (0.8, refine / "oof_probability.npy", refine / "oof_tiles.csv"),
        ):
            write_array(array, _probability(draw, truths[: len(ids)][own], error)[::-1])
            write_csv(table, held_out)
        tests = pd.DataFrame({"id": test_ids, "presence": 0.9, "presence_std": 0.1})
        for name_of, folder in (("test_mean", uncertainty), ("test_probability", refine)):
            write_array(folder / f"{name_of}.npy", _probability(draw, truths[len(ids) :], 1.0))
            write_csv(folder / "test_tiles.csv", tests)
        for spread in ("variance", "mutual_information"):
            for part, tiles in (("oof", ids[own]), ("test", test_ids)):
                levels = draw.integers(40, size=(len(tiles), TILE_SIZE, TILE_SIZE))
                write_array(uncertainty / f"{part}_{spread}.npy", levels.astype(np.uint8))
        write_json(uncertainty / "summary.json", {"passes": 4, "tta": "flip", "snapshots": 3})
        views = np.load(uncertainty / "oof_views.npy")
        write_array(uncertainty / "oof_snapshots.npy", np.roll(views, 2, axis=-1))
        write_csv(train / "history.csv", _history(name))
        write_json(data / "pseudo" / str(name) / "summary.json", {"chosen": 3})


def _history(fold: int) -> pd.DataFrame:
    epoch = np.arange(1, 13)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "learning_rate": 1e-3 * (1 + np.cos(epoch / 4)),
            "train_loss": 1.2 * np.exp(-epoch / 4) + 0.1,
            "validation_score": 0.8 - 0.5 * np.exp(-epoch / 3) - 0.02 * fold,
        }
    )


def _write_ensemble(
    folder: Path,
    draw: np.random.Generator,
    ids: pd.Series,
    test_ids: pd.Series,
    fold: np.ndarray,
    truths: np.ndarray,
) -> np.ndarray:
    """Write the ensemble and return the decided masks of all tiles."""
    probability = _probability(draw, truths, 0.7)
    parts = {
        "oof": (slice(None, len(ids)), pd.DataFrame({"id": ids, "fold": fold, "presence": 0.9})),
        "test": (slice(len(ids), None), pd.DataFrame({"id": test_ids, "presence": 0.9})),
    }
    for part, (tiles, table) in parts.items():
        write_array(folder / f"{part}_probability.npy", probability[tiles])
        write_array(folder / f"{part}_uncertainty.npy", _entropy(probability[tiles]))
        write_csv(folder / f"{part}_tiles.csv", table)
    effect = {"applied": False, "masks_changed": 2, "gain": 0.001, "interval": [-0.001, 0.002]}
    effects = {"extend_vertical": effect, "seam_feather": effect | {"pixels": 8}}
    write_json(folder / "summary.json", {"postprocessing": effects})
    return apply_rule(probability, np.full(len(truths), 0.9), RULE)


def _write_threshold(
    folder: Path, ids: pd.Series, fold: np.ndarray, decided: np.ndarray, truths: np.ndarray
) -> None:
    scores = pd.DataFrame({"id": ids, "fold": fold, "score": tile_scores(decided, truths)})
    write_csv(folder / "scores.csv", scores)
    write_json(folder / "rule.json", asdict(RULE))
    write_json(
        folder / "summary.json",
        {"folds": [{"fold": name, "rule": asdict(RULE)} for name in FOLDS]},
    )

"""Accuracy and cost of `salt.neighbours.jigsaw`; writes benchmarks/results/jigsaw.json.

    python -m benchmarks.jigsaw [--tgs ../shared/data/tgs]

Accuracy is measured on modelled sections whose layout is known: cut, shuffled, with noise
added and every tile stretched to the full grey range on its own. `survey` is the demo's
kind (24 blocks, three neighbouring inlines each, near copies of one another), `sections` are
six large unrelated sections. Half of the tiles missing is the hard case: a near copy of a
missing neighbour fits almost as well. Cost is wall-clock time and peak memory of a fresh
process on random subsets of the TGS tiles (on modelled noise where TGS is not at hand). TGS
has no known layout; its labelled masks, which the jigsaw never sees, are an independent check:
`mask_disagreement` is the share of pixel pairs along a seam with different labels, over seams
between two labelled tiles with salt (wholly salt tiles are labelled empty).
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from salt.files import read_json, write_json
from salt.neighbours.accuracy import seam_accuracy
from salt.neighbours.jigsaw import Jigsaw, jigsaw
from salt.seeding import derive_seed, generator
from salt.sources.ingest import ingest
from salt.store import TILE_SIZE, open_store
from salt.synthesis.block import cut, draw_block

RESULT = Path(__file__).parent / "results" / "jigsaw.json"
SEED = 2018
COUNTS = (5_000, 11_000, 22_000)
NOISES = (0, 4, 8, 16)  # grey levels, standard deviation
SHARES = (1.0, 0.5)  # of the tiles kept
PUZZLES: dict[str, dict[str, Any]] = {
    "survey": {"blocks": 24, "inlines": 3, "rows": 2, "columns": 4, "variety": 0.2},
    "sections": {"blocks": 6, "inlines": 1, "rows": 8, "columns": 12, "variety": 1.0},
}


def main() -> None:
    """Measure everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tgs", type=Path, default=Path("../shared/data/tgs"))
    tgs = parser.parse_args().tgs
    result: dict[str, Any] = {"accuracy": measure_accuracy(), "machine": {"cpus": os.cpu_count()}}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        if tgs.exists():
            ingest(tgs, Path(folder), "native")
        else:
            np.save(images, draw_noise(max(COUNTS)))
        result["tiles"] = "tgs" if tgs.exists() else "modelled noise"
        result["cost"] = [in_fresh_process(cost, images, count) for count in COUNTS]
        if tgs.exists():
            result["tgs"] = in_fresh_process(describe_tgs, Path(folder))
    write_json(RESULT, result)
    print(f"benchmarks/jigsaw: {RESULT}\n{read_json(RESULT)['cost']}")


def measure_accuracy() -> list[dict[str, Any]]:
    """Return precision and recall for every puzzle, noise and share of tiles kept."""
    rows = []
    for name, shape in PUZZLES.items():
        tiles, places = draw_puzzle(name, **shape)
        for noise in NOISES:
            for share in SHARES:
                draw = generator(SEED, "shuffle", name, noise)
                kept = draw.permutation(len(tiles))[: round(share * len(tiles))]
                found = jigsaw(stretched(tiles[kept], noise, draw)).sides
                row = {"puzzle": name, "noise": noise, "share_kept": share}
                rows.append(row | seam_accuracy(found, places[kept]))
    return rows


def draw_puzzle(
    name: str, *, blocks: int, inlines: int, rows: int, columns: int, variety: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return modelled tiles uint8 [n, 101, 101] and places [n, 4]: block, inline, column, row."""
    tiles, places = [], []
    for block in range(blocks):
        sections = draw_block(
            derive_seed(SEED, "jigsaw benchmark", name, block),
            inlines=inlines,
            rows=rows,
            columns=columns,
            empty_tiles=inlines * rows * columns // 3,
            tolerance=inlines * rows * columns,
            seabed_chance=0.2,
            variety=variety,
        )
        cuts = cut(sections.images)  # [I, R, C, 101, 101]
        tiles.append(cuts.reshape(-1, TILE_SIZE, TILE_SIZE))
        places += [(block, inline, c, r) for inline, r, c in np.ndindex(*cuts.shape[:3])]
    return np.concatenate(tiles), np.array(places)


def stretched(tiles: np.ndarray, noise: float, draw: np.random.Generator) -> np.ndarray:
    """Add noise and stretch every tile to 0 .. 255, as TGS tiles are."""
    noisy = tiles + noise * draw.normal(size=tiles.shape)
    low, high = (pick(noisy, axis=(1, 2), keepdims=True) for pick in (np.min, np.max))
    return np.asarray((noisy - low) / np.maximum(high - low, 1) * 255, np.uint8)


def draw_noise(count: int) -> np.ndarray:
    """Return band-limited tiles without neighbours, uint8 [n, 101, 101]."""
    draw = generator(SEED, "noise tiles")
    tiles = np.empty((count, TILE_SIZE, TILE_SIZE), np.uint8)
    for tile in tiles:
        field = gaussian_filter(draw.normal(size=tile.shape), (1.5, 5))
        tile[:] = np.clip(128 + 40 * field / field.std(), 0, 255)
    return tiles


def in_fresh_process(function: Any, *arguments: Any) -> Any:
    """Run a function alone in a process, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def cost(images_path: Path, count: int) -> dict[str, Any]:
    """Solve a random subset; return its time and the process's peak memory."""
    images = np.load(images_path, mmap_mode="r")
    chosen = np.sort(generator(SEED, "subset", count).permutation(len(images))[:count])
    tiles = images[chosen]
    started, processor = time.perf_counter(), time.process_time()
    solved = jigsaw(tiles)
    return {
        "tiles": count,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "seams": len(solved.seams),
    }


def describe_tgs(folder: Path) -> dict[str, Any]:
    """Return what the jigsaw makes of all TGS tiles, checked by the labels across its seams."""
    store = open_store(folder)
    solved = jigsaw(np.asarray(store.images))
    sizes = np.bincount(solved.layout.mosaic)
    return {
        "seams": len(solved.seams),
        "sections": int((sizes > 1).sum()),
        "tiles_in_sections": int(sizes[sizes > 1].sum()),
        "largest_section": int(sizes.max()),
        "seams_below_confidence_0.9": int((solved.seams["confidence"] < 0.9).sum()),
        "mask_disagreement": mask_disagreement(solved, store.masks),
    }


def mask_disagreement(solved: Jigsaw, masks: np.ndarray) -> dict[str, float | int]:
    """Return how labels differ along seams between labelled tiles that both hold salt."""
    salty = np.append(masks.any(axis=(1, 2)), False)
    seams = solved.seams[(solved.seams[["first", "second"]] < len(masks)).all(axis=1)]
    seams = seams[salty[seams["first"]] & salty[seams["second"]]]
    across = (seams["axis"] == 0).to_numpy()
    first, second = masks[seams["first"]], masks[seams["second"]]
    differ = np.where(
        across[:, None], first[:, :, -1] != second[:, :, 0], first[:, -1] != second[:, 0]
    )
    return {"seams": len(seams), "mean": round(float(differ.mean()), 4)}


if __name__ == "__main__":
    main()

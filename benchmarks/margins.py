"""How true a tile's margin is, and what it costs; `--write` records results/margins.json.

    python -m benchmarks.margins [--run data] [--write]

The truth of a margin is known where tiles are cut from tiles: each labelled image is cut into
four, three of them are stretched apart in grey, and the margin of the fourth, lower right one
is compared with what was there: mean absolute error in grey levels (0 to 255), at the left side,
the upper side and the corner between them. Only the image of the store counts, no labels. Cost
is that of the store's own canvases, side 128 as in training and inference. `--run` is the data
of a finished run, of which ingest and index are read.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt.dataset import GREY_MEAN, open_images
from salt.files import write_json
from salt.neighbours.margins import WidenedTiles, surrounding_tiles
from salt.seeding import generator
from salt.store import TileStore, open_store

RESULT = Path(__file__).parent / "results" / "margins.json"
CUT, MARGIN = 50, 14  # pixels: side of a quarter, and what is added before it
GAINS, SHIFTS = (0.6, 1.6), (-20, 20)  # that quarters are stretched apart by
INPUT_SIZE, BATCH, BATCHES = 128, 64, 20
PADS: dict[str, dict[str, Any]] = {  # NumPy's names for salt.padding.MODES
    "reflect": {"mode": "reflect"},
    "edge": {"mode": "edge"},
    "zero": {"mode": "constant", "constant_values": round(255 * GREY_MEAN)},
}


def main() -> None:
    """Measure, print the tables and, if asked to, record them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("data"))
    parser.add_argument("--write", action="store_true", help=f"record {RESULT.name}")
    options = parser.parse_args()
    store = open_store(options.run / "ingest")
    errors, costs = measure_errors(store), measure_cost(store, options.run / "index")
    print(pd.DataFrame(errors).to_string(index=False), pd.Series(costs).to_string(), sep="\n\n")
    if options.write:
        machine = {"cpus": os.cpu_count()}
        write_json(RESULT, {"errors": errors, "cost": costs, "machine": machine})


def measure_errors(store: TileStore) -> list[dict[str, Any]]:
    """Return for each way to fill the margin its mean absolute error at sides and corner."""
    varied = np.flatnonzero(~store.labelled["is_constant"].to_numpy(bool))
    whole = store.images[varied, : 2 * CUT, : 2 * CUT]
    quarters = whole.reshape(-1, 2, CUT, 2, CUT).swapaxes(2, 3)  # [n, 2, 2, CUT, CUT]
    tiles = stretched_apart(quarters)
    mosaic, place = np.divmod(np.arange(4 * len(varied)), 4)
    around = surrounding_tiles(mosaic, *np.divmod(place, 2))
    widened = WidenedTiles(tiles.reshape(-1, CUT, CUT), around, (MARGIN, 0))
    margins = ((0, 0), (MARGIN, 0), (MARGIN, 0))
    canvases = {name: np.pad(tiles[:, 1, 1], margins, **way) for name, way in PADS.items()}
    canvases["neighbours, grey as it is"] = _own_and_margin(_joined(tiles))
    canvases["neighbours"] = widened[np.flatnonzero(place == 3)]
    truth = _own_and_margin(whole)
    return [
        {"margin": name, "tiles": len(varied), **_errors(canvas, truth)}
        for name, canvas in canvases.items()
    ]


def stretched_apart(quarters: np.ndarray) -> np.ndarray:
    """Give all but the lower right quarters [n, 2, 2, S, S] a gain and a shift of their own."""
    draw = generator(0, "margins benchmark")
    gain, shift = (draw.uniform(low, high, quarters.shape[:3]) for low, high in (GAINS, SHIFTS))
    gain[:, 1, 1], shift[:, 1, 1] = 1, 0
    grey = (quarters - 128.0) * gain[..., None, None] + 128 + shift[..., None, None]
    return np.rint(grey).clip(0, 255).astype(np.uint8)


def measure_cost(store: TileStore, index: Path) -> dict[str, float]:
    """Return seconds to match the greys of all tiles, and milliseconds for one canvas."""
    start = time.perf_counter()
    images = open_images(store, index, "neighbours", INPUT_SIZE)
    matched = time.perf_counter() - start
    rows = generator(0, "rows").integers(len(images), size=(BATCHES, BATCH))
    start = time.perf_counter()
    for batch in rows:
        images[batch]
    spent = time.perf_counter() - start
    return {
        "tiles": len(images),
        "seconds_to_match": round(matched, 2),
        "milliseconds_a_canvas": round(1000 * spent / rows.size, 4),
    }


def _joined(tiles: np.ndarray) -> np.ndarray:
    return tiles.swapaxes(2, 3).reshape(-1, 2 * CUT, 2 * CUT)


def _own_and_margin(whole: np.ndarray) -> np.ndarray:
    return whole[:, CUT - MARGIN :, CUT - MARGIN :]


def _errors(canvas: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    error = np.abs(canvas.astype(float) - truth)
    near, far = slice(0, MARGIN), slice(MARGIN, None)
    parts = {"left": (far, near), "up": (near, far), "corner": (near, near)}
    return {side: round(float(error[:, *part].mean()), 2) for side, part in parts.items()}


if __name__ == "__main__":
    main()

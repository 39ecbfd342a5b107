"""Fit one fold's refiner on the other folds' out-of-fold maps, then refine this fold's.

Cross-fitting: the maps a refiner learns from come from networks that never saw the tile, and
the fold it refines took no part in its training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from salt.dataset import normalise
from salt.errors import StoreError
from salt.files import new_array, write_csv, write_json
from salt.fit.loop import Fit
from salt.fit.processes import Processes
from salt.fit.task import FitConfig, Report
from salt.losses.dice import dice_loss
from salt.losses.focal import focal_loss
from salt.maps import FoldMaps, open_maps
from salt.models.precision import autocast
from salt.models.refiner import MULTIPLE, Refiner, stack_inputs
from salt.models.segmenter import CONFIG, WEIGHTS
from salt.models.weights import save_weights
from salt.padding import crop, pad
from salt.seeding import derive_seed
from salt.store import TileStore, open_store

BATCH_SIZE = 128


@dataclass(frozen=True)
class MapBatch:
    """Refiner inputs [B, 4, S, S] with their masks and valid pixels [B, 1, S, S]."""

    inputs: torch.Tensor
    masks: torch.Tensor
    valid: torch.Tensor
    ids: list[str]

    def to(self, device: torch.device) -> "MapBatch":
        """Move every tensor."""
        return MapBatch(
            self.inputs.to(device), self.masks.to(device), self.valid.to(device), self.ids
        )


class RefinementTask:
    """Fit a `Refiner` to out-of-fold maps; see `salt.fit.task.Task`."""

    def __init__(
        self,
        name: str,
        store: TileStore,
        maps: Sequence[FoldMaps],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.name, self.store, self.maps = name, store, maps
        self.batch_size, self.seed = batch_size, seed
        self.places = [(fold, row) for fold, m in enumerate(maps) for row in range(len(m.ids))]
        self.rows = np.concatenate([store.rows_of(m.ids) for m in maps])
        if len(np.unique(self.rows)) != len(self.rows) or self.rows.max() >= len(store.masks):
            raise StoreError(
                f"{name}: the folds' out-of-fold tiles overlap or are not labelled; expected each "
                "labelled tile in one fold. Rerun from the index stage with `dvc repro`."
            )

    def steps(self) -> int:
        """Batches in an epoch."""
        return max(len(self.places) // self.batch_size, 1)

    def batches(self, epoch: int) -> Iterator[MapBatch]:
        """Yield the epoch's shuffled batches, each mirrored as a whole half of the time."""
        rng = np.random.default_rng(derive_seed(self.seed, "order", epoch))
        order = rng.permutation(len(self.places))
        for step in range(self.steps()):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            batch = self._batch(chosen)
            yield _mirrored(batch) if rng.random() < 0.5 else batch

    def _batch(self, chosen: np.ndarray) -> MapBatch:
        places = [self.places[index] for index in chosen]
        rows = self.rows[chosen]
        gathered = [
            np.stack([getattr(self.maps[fold], name)[row] for fold, row in places])
            for name in ("mean", "entropy", "mutual_information")
        ]
        masks = torch.from_numpy(self.store.masks[rows].astype(np.float32))[:, None]
        valid = 1 - torch.from_numpy(self.store.ignore[rows].astype(np.float32))[:, None]
        ids = list(self.store.table["id"].iloc[rows])
        return MapBatch(_inputs(self.store.images[rows], *gathered), masks, valid, ids)

    def loss(self, model: Refiner, batch: MapBatch, share: float) -> torch.Tensor:
        """Return cross-entropy + Dice of the refined logits."""
        logits = refined_logits(model, batch.inputs)
        entropy = focal_loss(logits, batch.masks, batch.valid, gamma=0.0)
        return entropy + dice_loss(logits, batch.masks, batch.valid)

    def validate(self, model: Refiner) -> dict[str, float]:
        """Nothing is chosen by score here: the last epoch counts."""
        return {}


def refined_logits(model: Refiner, inputs: torch.Tensor) -> torch.Tensor:
    """Pad [B, 4, S, S] to a size the refiner takes, refine, crop: float32 [B, 1, S, S]."""
    size = inputs.shape[-1]
    padded = pad(inputs, -(-size // MULTIPLE) * MULTIPLE)
    return crop(model(padded.contiguous(memory_format=torch.channels_last)), size).float()


def fit_refiner(
    uncertainty: Path,
    ingest: Path,
    *,
    fold: int,
    folds: Sequence[int],
    width: int,
    batch_size: int,
    fit_config: FitConfig,
    seed: int,
    out: Path,
    resume: Path,
    device: torch.device,
    report: Report,
) -> None:
    """Train on the other folds and write this fold's refined maps.

    Writes weights.safetensors, config.json, history.csv and, for `oof` and `test`,
    PART_probability.npy (float16 [n, S, S]) and PART_tiles.csv (id, presence). With 0 epochs
    there is no refiner: the maps are passed on as they are.
    """
    store = open_store(ingest)
    others = [open_maps(uncertainty / str(other), "oof") for other in folds if other != fold]
    own = {part: open_maps(uncertainty / str(fold), part) for part in ("oof", "test")}
    task = RefinementTask(f"refine@{fold}", store, others, batch_size=batch_size, seed=seed)
    model, epochs = Refiner(width), fit_config.epochs
    state, history = Fit(model, task, fit_config, resume, Processes(device)).run(report)
    model.load_state_dict(state)
    save_weights(state, out / WEIGHTS)
    write_json(out / CONFIG, {"width": width})
    write_csv(out / "history.csv", history)
    for part, maps in own.items():
        with autocast(device, fit_config.precision):
            _refine_part(model.eval() if epochs else None, store, maps, out, part, fold)


def _refine_part(
    model: Refiner | None, store: TileStore, maps: FoldMaps, out: Path, part: str, fold: int
) -> None:
    rows = store.rows_of(maps.ids)
    name = f"refine@{fold} {part}"
    with (
        torch.inference_mode(),
        new_array(out / f"{part}_probability.npy", maps.mean.shape, np.float16) as refined,
        tqdm(total=len(rows), desc=name, unit="tile", mininterval=1.0) as progress,
    ):
        for start in range(0, len(rows), BATCH_SIZE):
            chunk = slice(start, start + BATCH_SIZE)
            refined[chunk] = (
                maps.mean[chunk]
                if model is None
                else _refined(model, store.images[rows[chunk]], maps, chunk)
            )
            progress.update(len(rows[chunk]))
    tiles = pd.DataFrame({"id": maps.ids, "presence": maps.presence})
    write_csv(out / f"{part}_tiles.csv", tiles)


def _refined(model: Refiner, images: np.ndarray, maps: FoldMaps, chunk: slice) -> np.ndarray:
    uncertainties = maps.entropy[chunk], maps.mutual_information[chunk]
    inputs = _inputs(images, maps.mean[chunk], *uncertainties)
    logits = refined_logits(model, inputs.to(next(model.parameters()).device))
    return torch.sigmoid(logits)[:, 0].cpu().numpy()


def _inputs(
    images: np.ndarray, mean: np.ndarray, entropy: np.ndarray, information: np.ndarray
) -> torch.Tensor:
    shares = [
        torch.from_numpy(levels.astype(np.float32) / 255) for levels in (entropy, information)
    ]
    return stack_inputs(normalise(images), torch.from_numpy(mean.astype(np.float32)), *shares)


def _mirrored(batch: MapBatch) -> MapBatch:
    return MapBatch(batch.inputs.flip(-1), batch.masks.flip(-1), batch.valid.flip(-1), batch.ids)

"""Second round of a fold: reads train@FOLD, pseudo@FOLD and tiles, writes data/student/FOLD/."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from salt import tracking
from salt.augment import AugmentConfig
from salt.errors import reported_errors
from salt.fit.checkpoint import reserved, resume_folder
from salt.fit.devices import open_device
from salt.fit.fold import fold_inputs
from salt.fit.processes import launch
from salt.fit.segmentation import fit_fold, open_task
from salt.fit.student import StudentTask, pass_on, pseudo_tiles
from salt.fit.task import FitConfig
from salt.losses.compound import loss_config
from salt.models.segmenter import config_from
from salt.params import load_params
from salt.seeding import derive_seed, seed_everything
from salt.store import open_store

TILES = (Path("data/ingest"), Path("data/index"), Path("data/synthesize"))
TRAIN, PSEUDO, OUT = Path("data/train"), Path("data/pseudo"), Path("data/student")


def main(fold: int) -> None:
    """Go on training with pseudo-labels, resuming a killed run; without any pass train on."""
    params = load_params()
    settings, runtime = params.train, params.runtime
    model = config_from(params.model.model_dump())
    seed = seed_everything(params.seed, "student", fold)
    device = open_device(runtime.device, runtime.threads, runtime.deterministic)
    processes = launch(device, settings.devices, settings.nodes, settings.batch_size)
    teacher, labels, out = (folder / str(fold) for folder in (TRAIN, PSEUDO, OUT))
    labelled = open_task(
        f"student@{fold}",
        TILES,
        fold=fold,
        model=model,
        loss=loss_config(params.loss.model_dump()),
        augment=AugmentConfig(**params.augment.model_dump()),
        validation_share=settings.validation_share,
        split_seed=derive_seed(params.seed, "train", fold),  # as in the first round
        batch_size=settings.batch_size,
        synthetic_share=settings.synthetic_share,
        precision=settings.precision,
        seed=seed,
        workers=runtime.workers,
        part=processes.part,
    )
    tiles = pseudo_tiles(labels, open_store(TILES[0]), labelled.data)
    if not len(tiles):
        if processes.first:
            pass_on(teacher, out, settings.snapshots)
        return
    first = FitConfig(**settings.model_dump(include=set(FitConfig.__dataclass_fields__)))
    names = ("model", "loss", "augment", "train", "pseudo")
    decides = {name: getattr(params, name).model_dump() for name in names} | {"seed": params.seed}
    inputs = [teacher / "weights.safetensors", labels / "masks.npy", labels / "tiles.csv"]
    resume = resume_folder(f"student@{fold}", decides, [*fold_inputs(*TILES), *inputs])
    task = StudentTask(labelled, tiles, params.pseudo.weight)
    second = replace(first, epochs=params.pseudo.epochs, learning_rate=params.pseudo.learning_rate)
    where = dict[str, Any](start=teacher, out=out, resume=resume, processes=processes)
    with (
        reserved(resume, processes),
        tracking.stage_run("student", params.model_dump(), fold, processes.first) as run,
    ):
        fit_fold(task, model, second, anew=(), report=run.metrics, **where)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold held out")
    with reported_errors():
        main(parser.parse_args().fold)

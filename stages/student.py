"""Second round of a fold: reads train@FOLD, pseudo@FOLD and tiles, writes data/student/FOLD/."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from salt import tracking
from salt.augment import AugmentConfig
from salt.errors import reported_errors
from salt.fit.checkpoint import discard, resume_folder
from salt.fit.devices import open_device
from salt.fit.processes import launch
from salt.fit.segmentation import fit_fold, open_task
from salt.fit.student import StudentTask, pass_on, pseudo_tiles
from salt.fit.task import FitConfig
from salt.losses.compound import loss_config
from salt.models.segmenter import config_from
from salt.params import load_params
from salt.seeding import seed_everything
from salt.store import open_store

INGEST, INDEX, SYNTHESIZE = Path("data/ingest"), Path("data/index"), Path("data/synthesize")
TRAIN, PSEUDO, OUT = Path("data/train"), Path("data/pseudo"), Path("data/student")
INPUTS = [
    *(INGEST / name for name in ("images.npy", "masks.npy", "ignore.npy", "tiles.csv")),
    *(INDEX / name for name in ("neighbours.csv", "folds.csv")),
    *(SYNTHESIZE / name for name in ("images.npy", "masks.npy")),
]


def main(fold: int) -> None:
    """Go on training with pseudo-labels, resuming a killed run; without any pass train on."""
    params = load_params()
    settings, runtime, model = params.train, params.runtime, config_from(params.model.model_dump())
    seed = seed_everything(params.seed, "student", fold)
    device = open_device(runtime.device, runtime.threads, runtime.deterministic)
    processes = launch(device, settings.devices, settings.nodes, settings.batch_size)
    teacher, labels, out = (folder / str(fold) for folder in (TRAIN, PSEUDO, OUT))
    labelled = open_task(
        f"student@{fold}",
        (INGEST, INDEX, SYNTHESIZE),
        fold=fold,
        model=model,
        loss=loss_config(params.loss.model_dump()),
        augment=AugmentConfig(**params.augment.model_dump()),
        validation_share=settings.validation_share,
        batch_size=settings.batch_size,
        synthetic_share=settings.synthetic_share,
        precision=settings.precision,
        seed=seed,
        workers=runtime.workers,
        part=processes.part,
    )
    tiles = pseudo_tiles(labels, open_store(INGEST), labelled.data)
    if not len(tiles):
        if processes.first:
            pass_on(teacher, out)
        return
    first = FitConfig(**settings.model_dump(include=set(FitConfig.__dataclass_fields__)))
    names = ("model", "loss", "augment", "train", "pseudo")
    decides = {name: getattr(params, name).model_dump() for name in names} | {"seed": params.seed}
    inputs = [*INPUTS, teacher / "weights.safetensors", labels / "masks.npy", labels / "tiles.csv"]
    resume = resume_folder(f"student@{fold}", decides, inputs)
    task = StudentTask(labelled, tiles, params.pseudo.weight)
    second = replace(first, epochs=params.pseudo.epochs, learning_rate=params.pseudo.learning_rate)
    where = dict[str, Any](start=teacher, out=out, resume=resume, processes=processes)
    with tracking.stage_run(
        "student", params=params.model_dump(), fold=fold, tracked=processes.first
    ) as run:
        fit_fold(task, model, second, anew=(), device=processes.device, report=run.metrics, **where)
    if processes.first:
        discard(resume)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold held out")
    with reported_errors():
        main(parser.parse_args().fold)

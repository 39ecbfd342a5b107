"""Refine one fold: reads ingest and uncertainty of all folds, writes data/refine/FOLD/."""

import argparse
from pathlib import Path

from salt import tracking
from salt.errors import reported_errors
from salt.fit.checkpoint import reserved, resume_folder
from salt.fit.devices import open_device
from salt.fit.processes import Processes
from salt.fit.refinement import fit_refiner
from salt.fit.task import FitConfig
from salt.params import load_params
from salt.seeding import seed_everything

INGEST, UNCERTAINTY, OUT = Path("data/ingest"), Path("data/uncertainty"), Path("data/refine")
OOF = ("oof_mean.npy", "oof_entropy.npy", "oof_mutual_information.npy", "oof_tiles.csv")


def main(fold: int) -> None:
    """Fit on the other folds' out-of-fold maps, resuming a killed run, and refine this one's."""
    params = load_params()
    settings, folds, precision = params.refine, params.index.folds, params.train.precision
    seed = seed_everything(params.seed, "refine", fold)
    device = open_device(
        params.runtime.device, params.runtime.threads, params.runtime.deterministic
    )
    tiles = [INGEST / name for name in ("images.npy", "masks.npy", "ignore.npy", "tiles.csv")]
    others = [UNCERTAINTY / str(other) / name for other in folds if other != fold for name in OOF]
    decides = {"seed": params.seed, "refine": settings.model_dump(), "folds": folds}
    decides["precision"] = precision
    resume = resume_folder(f"refine@{fold}", decides, [*tiles, *others])
    with (
        reserved(resume, Processes(device)),
        tracking.stage_run("refine", params.model_dump(), fold) as run,
    ):
        fit_refiner(
            UNCERTAINTY,
            INGEST,
            fold=fold,
            folds=folds,
            width=settings.width,
            batch_size=settings.batch_size,
            fit_config=FitConfig(
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                precision=precision,
            ),
            seed=seed,
            out=OUT / str(fold),
            resume=resume,
            device=device,
            report=run.metrics,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold to refine")
    with reported_errors():
        main(parser.parse_args().fold)

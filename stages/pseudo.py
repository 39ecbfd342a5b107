"""Pseudo-label one fold: reads train@FOLD, ingest, index, writes data/pseudo/FOLD/."""

import argparse
from pathlib import Path

from salt import tracking
from salt.errors import reported_errors
from salt.files import read_json
from salt.fit.devices import open_device
from salt.infer.pseudo import label_fold
from salt.params import load_params
from salt.seeding import seed_everything

INGEST, INDEX, TRAIN = Path("data/ingest"), Path("data/index"), Path("data/train")
OUT = Path("data/pseudo")


def main(fold: int) -> None:
    """Choose test tiles on which the fold's network agrees with itself."""
    params = load_params()
    seed_everything(params.seed, "pseudo", fold)
    device = open_device(
        params.runtime.device, params.runtime.threads, params.runtime.deterministic
    )
    with tracking.stage_run("pseudo", params=params.model_dump(), fold=fold) as run:
        label_fold(
            TRAIN / str(fold),
            INGEST,
            INDEX,
            fold=fold,
            share=params.pseudo.share,
            agreement=params.pseudo.agreement,
            passes=params.uncertainty.passes,
            tta=params.ensemble.tta,
            precision=params.train.precision,
            device=device,
            out=OUT / str(fold),
            snapshots=params.train.snapshots,
        )
        run.metrics({"chosen": read_json(OUT / str(fold) / "summary.json")["chosen"]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold held out in training")
    with reported_errors():
        main(parser.parse_args().fold)

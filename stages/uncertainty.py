"""MC dropout of one fold: reads student@FOLD, ingest, index, writes data/uncertainty/FOLD/."""

import argparse
from pathlib import Path

from salt import tracking
from salt.errors import reported_errors
from salt.fit.devices import open_device
from salt.infer.uncertainty import measure_fold
from salt.params import load_params
from salt.seeding import seed_everything

INGEST, INDEX, STUDENT = Path("data/ingest"), Path("data/index"), Path("data/student")
OUT = Path("data/uncertainty")


def main(fold: int) -> None:
    """Measure the fold's held-out tiles and all test tiles."""
    params = load_params()
    seed_everything(params.seed, "uncertainty", fold)
    device = open_device(
        params.runtime.device, params.runtime.threads, params.runtime.deterministic
    )
    with tracking.stage_run("uncertainty", params=params.model_dump(), fold=fold):
        measure_fold(
            STUDENT / str(fold),
            INGEST,
            INDEX,
            fold=fold,
            passes=params.uncertainty.passes,
            tta=params.ensemble.tta,
            precision=params.train.precision,
            device=device,
            out=OUT / str(fold),
            snapshots=params.train.snapshots,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold held out in training")
    with reported_errors():
        main(parser.parse_args().fold)

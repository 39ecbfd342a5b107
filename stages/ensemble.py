"""Join the folds: reads ingest, index, uncertainty and refine, writes data/ensemble/."""

from pathlib import Path

from salt import tracking
from salt.errors import reported_errors
from salt.infer.ensemble import ensemble_folds
from salt.infer.postprocess import Steps
from salt.params import load_params

INGEST, INDEX, UNCERTAINTY = Path("data/ingest"), Path("data/index"), Path("data/uncertainty")
REFINE, OUT = Path("data/refine"), Path("data/ensemble")


def main() -> None:
    """Weigh plain and refined maps and average the folds."""
    params = load_params()
    with tracking.stage_run("ensemble", params=params.model_dump()):
        ensemble_folds(
            UNCERTAINTY,
            REFINE,
            INGEST,
            INDEX / "neighbours.csv",
            OUT,
            folds=params.index.folds,
            adopt=params.refine.adopt,
            average=params.ensemble.average,
            weights=params.ensemble.weights,
            crf_iterations=params.postprocess.crf_iterations,
            steps=Steps(params.postprocess.extend_vertical, params.postprocess.seam_feather),
            seed=params.seed,
        )


if __name__ == "__main__":
    with reported_errors():
        main()

"""Choose the decision rule on data/ensemble's out-of-fold maps and data/ingest's truth."""

from pathlib import Path

from salt.errors import reported_errors
from salt.files import read_json
from salt.infer.rule import Grid
from salt.infer.threshold import fit_rule
from salt.params import load_params
from salt.tracking import stage_run

OUT = Path("data/threshold")


def main() -> None:
    """Write data/threshold: rule.json, scores.csv and summary.json."""
    params = load_params()
    with stage_run("threshold", params.model_dump()) as run:
        fit_rule(
            ensemble=Path("data/ensemble"),
            ingest=Path("data/ingest"),
            output=OUT,
            grid=Grid.spanning(
                candidates=params.threshold.candidates,
                minimum_sizes=params.threshold.minimum_sizes,
                presence_gates=params.threshold.presence_gates,
                minimum_components=params.threshold.minimum_components,
                fill_holes=params.threshold.fill_holes,
            ),
            seed=params.seed,
        )
        run.metrics(read_json(OUT / "rule.json"))


if __name__ == "__main__":
    with reported_errors():
        main()

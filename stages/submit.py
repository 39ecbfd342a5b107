"""Write data/ensemble's test maps as masks, under data/threshold's rule, for submission."""

import sys
from pathlib import Path

from salt.errors import reported_errors
from salt.infer.submission import make_submission
from salt.params import load_params
from salt.tracking import stage_run

OUT = Path("data/submit")


def main() -> None:
    """Write data/submit: submission.csv, validated, and summary.json."""
    with stage_run("submit", load_params().model_dump()) as run:
        warnings = make_submission(
            ensemble=Path("data/ensemble"),
            rule_file=Path("data/threshold/rule.json"),
            ingest=Path("data/ingest"),
            output=OUT,
        )
        run.artifact(OUT / "submission.csv")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    with reported_errors():
        main()

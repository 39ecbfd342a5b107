"""Blend finished runs into one submission, and say what that gains over each of them.

    python -m salt.blend RUN RUN ... --out FOLDER [--weights fitted] [--average logit]

A RUN is what an ensemble stage wrote (data/ensemble, or a copy of it) for the tiles and folds of
the present project: see docs/blending.md. The comparison is printed and kept in
FOLDER/summary.md, the submission in FOLDER/submit/submission.csv.
"""

import argparse
import sys
from pathlib import Path

from salt.blend.comparison import as_page
from salt.blend.finished import blend_finished_runs
from salt.errors import reported_errors
from salt.infer.rule import Grid
from salt.params import load_params

INGEST = Path("data/ingest")


def main(arguments: list[str]) -> None:
    """Blend the runs named on the command line under `threshold`'s rules of params.yaml."""
    parser = argparse.ArgumentParser(
        prog="python -m salt.blend",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="an ensemble's folder")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="to write to")
    parser.add_argument("--weights", choices=["equal", "fitted"], default="equal")
    parser.add_argument("--average", choices=["probability", "logit"], default="probability")
    parser.add_argument("--ingest", type=Path, default=INGEST, help=f"default {INGEST}")
    options = parser.parse_args(arguments)
    params = load_params()
    summary = blend_finished_runs(
        options.runs,
        options.ingest,
        options.out,
        weights=options.weights,
        average=options.average,
        grid=Grid.spanning(**params.threshold.model_dump()),
        seed=params.seed,
    )
    print(as_page(summary))
    for warning in summary["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    with reported_errors():
        main(sys.argv[1:])

"""From finished runs to one submission with an honest score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from salt.blend.blended import write_blend
from salt.blend.comparison import as_page, compare, plans_as_dict
from salt.blend.runs import open_runs
from salt.blend.weights import plan_blend
from salt.errors import StoreError
from salt.files import write_json, write_text
from salt.infer.rule import Grid
from salt.infer.submission import make_submission
from salt.infer.threshold import choose_rule_of, fit_rule
from salt.store import open_store

WRITTEN = ("ensemble", "threshold", "submit")


def blend_finished_runs(
    folders: Sequence[Path],
    ingest: Path,
    out: Path,
    *,
    weights: str,
    average: str,
    grid: Grid,
    seed: int,
) -> dict[str, Any]:
    """Blend finished runs, choose the rule for the blend, and compare it with each of them.

    Writes ensemble/, threshold/ and submit/ in `out` as the stages of these names do, and
    summary.json with summary.md, the comparison. Nothing is written if an input is refused.

    Args:
        folders: of each run, what its ensemble stage wrote.
        ingest: folder of the tile store with the truth, and of the sample submission.
        weights, average: see `salt.blend.weights.plan_blend`.
        grid: the decision rules to choose from, for the blend and for each run.
        seed: root seed of the intervals' resampling.

    Returns:
        The content of summary.json; `warnings` are about the submission.

    Raises:
        StoreError: the runs do not belong together (see `open_runs`), or would be overwritten.
        ParameterError: weights cannot be fitted to a mean of logits.
        SubmissionError: the sample submission is malformed.
    """
    _require_elsewhere(out, folders, ingest)
    store = open_store(ingest)
    runs = open_runs(folders, store)
    names = [str(run.folder) for run in runs]
    progress = tqdm(runs, desc="score runs", unit="run", mininterval=1.0)
    singles = {str(run.folder): choose_rule_of(run.folder, store, grid) for run in progress}
    plans = plan_blend(runs, store, weights, average)
    write_blend(runs, plans, average, store, out / "ensemble")
    choice = fit_rule(out / "ensemble", ingest, out / "threshold", grid, seed)
    rule_file = out / "threshold/rule.json"
    warnings = make_submission(out / "ensemble", rule_file, ingest, out / "submit")
    summary = compare(choice, singles, seed) | {
        "weights": weights,
        "average": average,
        "weights_by_fold": plans_as_dict(names, plans),
        "warnings": warnings,
    }
    write_json(out / "summary.json", summary)
    write_text(out / "summary.md", as_page(summary))
    return summary


def _require_elsewhere(out: Path, folders: Sequence[Path], ingest: Path) -> None:
    written = {(out / name).resolve() for name in WRITTEN}
    read = {folder.resolve() for folder in folders}
    if overwritten := written & (read | {ingest.resolve().parent / name for name in WRITTEN}):
        raise StoreError(
            f"{out}: {sorted(overwritten)[0]} would be overwritten, which a run's stage wrote; "
            "expected a folder for the blend alone. Name another with --out."
        )

"""The page's first section: the score after each step, and what the step added."""

from html import escape
from typing import Any

STEP_NOTES = {
    "single pass at 0.5": "One pass of the network that never saw the tile.",
    "second round at 0.5": "One pass of the same network, trained on with pseudo-labels.",
    "snapshot mean at 0.5": (
        "Mean over the networks at the ends of the last cycles; so are the means below."
    ),
    "TTA mean at 0.5": "Mean over views of the tile, mirrored or moved; dropout off.",
    "MC dropout mean at 0.5": "Mean over dropout passes of each view.",
    "refined at 0.5": "A small network on image, probability and uncertainty.",
    "ensemble (as adopted) at 0.5": (
        "Refined where that helped on the other folds, else the mean; then any smoothing by image "
        "or sections. Folds are averaged on test tiles alone: a labelled tile has one network "
        "that never saw it."
    ),
    "cross-fitted decision rule": (
        "Threshold, sizes, holes and presence gate, chosen on the other folds."
    ),
}
NOT_TAKEN = {  # but for snapshots, whose row needs a schedule of its own
    "second round at 0.5": "Not taken: no pseudo-labels (pseudo.share).",
    "TTA mean at 0.5": "Not taken: one view of each tile (ensemble.tta).",
    "MC dropout mean at 0.5": "Not taken: one pass, without dropout (uncertainty.passes).",
}


def steps_section(steps: list[dict[str, Any]], total: dict[str, Any]) -> str:
    """Return the section as HTML from metrics.json's steps and their gain taken together.

    A step of `NOT_TAKEN` that the run did not take keeps its row, and says what would take it.
    """
    taken = {step["step"]: step for step in steps}
    rows = [
        _step_row(taken[name], is_last=name == steps[-1]["step"])
        if name in taken
        else _row(name, NOT_TAKEN[name], "<td></td><td></td>")
        for name in STEP_NOTES
        if name in taken or name in NOT_TAKEN
    ]
    rows.append(_row("all steps", "The last row over the first.", f"<td></td>{_gain_cell(total)}"))
    return (
        '<section id="steps">\n<h2>What each step adds</h2>\n'
        '<p class="lead">All steps are scored on the same tiles. A gain is paired with the step '
        "before, tile by tile; where its interval includes zero, the step may have done nothing. "
        "Small numbers are 95&nbsp;% intervals.</p>\n"
        '<div class="card steps"><table>\n<thead><tr><th>Step</th><th class="number">Score</th>'
        '<th class="number">Gain over the step before</th>'
        f"</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n</section>"
    )


def _step_row(step: dict[str, Any], is_last: bool) -> str:
    low, high = step["interval"]
    score = (
        f'<td class="number" data-label="Score"><span>{step["score"]:.3f}'
        f"<small>{low:.3f} to {high:.3f}</small></span></td>"
    )
    name = step["step"]
    return _row(name, STEP_NOTES[name], score + _gain_cell(step), " class=final" * is_last)


def _row(name: str, note: str, cells: str, attribute: str = "") -> str:
    title = escape(name[0].upper() + name[1:])
    return f"<tr{attribute}><td>{title}<small>{escape(note)}</small></td>{cells}</tr>\n"


def _gain_cell(step: dict[str, Any]) -> str:
    if "gain" not in step:
        return "<td></td>"
    low, high = step["gain_interval"]
    kind, verdict = "unclear", "unclear"
    if low > 0 or high < 0:
        kind, verdict = ("better", "▲ better") if low > 0 else ("worse", "▼ worse")
    return (
        f'<td class="number" data-label="Gain"><span><b class="{kind}">{verdict} '
        f"{_signed(step['gain'])}</b><small>{_signed(low)} to {_signed(high)}</small></span></td>"
    )


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return text if text[1:] != "0.000" else "0.000"

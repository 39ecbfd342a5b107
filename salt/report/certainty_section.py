"""The page's section on certainty: calibration, risk and coverage, and the review list."""

from typing import Any

from salt.report.certainty import ORDERS
from salt.report.details import table_card

MEASURES = {
    "calibration_error": "Calibration error",
    "calibration_error_equal_mass": "Calibration error in bins of equal mass",
    "brier_score": "Brier score",
}
NAMES = ORDERS | {"random": "Chance", "oracle": "Oracle, which knows the truth"}


def certainty_section(metrics: dict[str, Any], charts: str, review: str) -> str:
    """Return the section as HTML from metrics.json's content, and its charts and pictures."""
    return (
        '<section id="certainty">\n<h2>How sure is it</h2>\n'
        '<p class="lead">Where a map says 70&nbsp;%, salt should be there seven times in ten, and '
        "the tiles a network is least sure of should be those it gets wrong. Both are measured "
        "on labelled tiles, with temperatures and expected losses from the other folds.</p>\n"
        f"{charts}\n{_calibration_table(metrics['calibration'])}\n"
        f"{_areas_table(metrics['risk'])}\n"
        '<div class="group"><h3>Review list</h3><p>All tiles by the score they are expected to '
        f"lose are in <code>review.csv</code>; the first are shown here.</p></div>\n{review}\n"
        "</section>"
    )


def _calibration_table(calibration: dict[str, Any]) -> str:
    rows, notes = [], []
    for name in ("pixels", "presence"):
        if name not in calibration:
            continue
        states = [calibration[name][state] for state in ("before", "after")]
        rows += [
            (f"{label}, {name}", *(f"{state[key]:.4f}" for state in states))
            for key, label in MEASURES.items()
        ]
        notes.append(f"{calibration['temperature'][name]['all_folds']:.2f} for {name}")
    note = (
        f"Temperature {' and '.join(notes)}: above 1 the forecasts were too sure, below 1 too shy."
    )
    return table_card("Calibration", note, ("Lower is better", "As forecast", "Scaled"), rows)


def _areas_table(risk: dict[str, Any]) -> str:
    columns = [risk["area"], risk.get("held_out_area")]
    known = [areas for areas in columns if areas is not None]
    heads = ("Tiles set aside by", "Labelled tiles", "Test tiles")[: 1 + len(known)]
    order = sorted(NAMES.keys() & risk["area"].keys(), key=lambda name: (risk["area"][name], name))
    rows = [(NAMES[name], *(f"{areas[name]:.4f}" for areas in known)) for name in order]
    low, high = risk["gain_interval"]
    note = (
        "Area under the curve of risk and coverage: the mean loss over all shares of tiles kept. "
        f"The learnt expected loss gains {risk['gain_over_max_probability']:+.4f} over max "
        f"probability (95 % interval {low:+.4f} to {high:+.4f}; where it includes zero, the two "
        "may be as good)."
    )
    return table_card("Who finds the errors", note, heads, rows)

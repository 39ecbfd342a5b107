"""The page's section on certainty: calibration, risk and coverage, and the review list."""

from typing import Any

from salt.report.certainty import ORDERS
from salt.report.details import facts_list, table_card

NAMES = ORDERS | {"random": "Chance", "oracle": "Oracle, which knows the truth"}


def certainty_section(metrics: dict[str, Any], charts: str, review: str) -> str:
    """Return the section as HTML from metrics.json's content, and its charts and pictures."""
    return (
        '<section id="certainty">\n<h2>How sure is it</h2>\n'
        '<p class="lead">Where a map says 70&nbsp;%, salt should be there seven times in ten, and '
        "the tiles a network is least sure of should be those it gets wrong. Both are measured "
        "on labelled tiles, with temperatures and expected losses from the other folds.</p>\n"
        f"{facts_list(_calibration_facts(metrics['calibration']))}\n{charts}\n"
        f"{_areas_table(metrics['risk'])}\n"
        '<p class="lead">All tiles by the score they are expected to lose are in '
        f"<code>review.csv</code>; these are the first.</p>\n{review}\n</section>"
    )


def _calibration_facts(calibration: dict[str, Any]) -> dict[str, str]:
    facts = {}
    for name, label in (("pixels", "pixels"), ("presence", "presence")):
        if name not in calibration:
            continue
        before, after = calibration[name]["before"], calibration[name]["after"]
        for key, measure in (("calibration_error", "Calibration error"), ("brier_score", "Brier")):
            facts[f"{measure}, {label}"] = f"{before[key]:.3f} → {after[key]:.3f}"
        temperature = calibration["temperature"][name]["all_folds"]
        facts[f"Temperature, {label}"] = f"{temperature:.2f}"
    return facts


def _areas_table(risk: dict[str, Any]) -> str:
    columns = [risk["area"], risk.get("held_out_area")]
    known = [areas for areas in columns if areas is not None]
    heads = ("Tiles set aside by", "Labelled tiles", "Held-out test tiles")[: 1 + len(known)]
    order = sorted(NAMES.keys() & risk["area"].keys(), key=lambda name: (risk["area"][name], name))
    rows = [(NAMES[name], *(f"{areas[name]:.4f}" for areas in known)) for name in order]
    low, high = risk["gain_interval"]
    note = (
        "Area under the curve of risk and coverage: the mean loss over all shares of tiles kept. "
        f"By expected loss it is smaller by {risk['gain_over_max_probability']:.4f} than by max "
        f"probability (95 % interval {low:.4f} to {high:.4f})."
    )
    return table_card("Who finds the errors", note, heads, rows)

"""The page's last section: scores of folds, the decision rule, folds and submission."""

from html import escape
from typing import Any

POSTPROCESSING = {
    "extend_vertical": "Extend vertical masks",
    "extend_vertical_from_truth": "The same from true masks of neighbours",
    "seam_feather": "Blend across seams",
}


def details_section(metrics: dict[str, Any]) -> str:
    """Return the section as HTML from metrics.json's content."""
    scored, rule = metrics["out_of_fold"], metrics["threshold"]
    facts = {f"Score of fold {fold}": f"{x:.3f}" for fold, x in scored["per_fold"].items()}
    facts |= {
        "IoU, tiles with salt": _share(scored["salt_iou"]),
        "Dice, tiles with salt": _share(scored["salt_dice"]),
        "Threshold for test tiles": f"{rule['threshold']:.3f}",
        "Minimum size": f"{rule['minimum_size']} px",
        "Minimum component": f"{rule['minimum_component']} px",
        "Holes filled": f"up to {rule['fill_holes']} px",
        "Presence gate": f"{rule['presence_gate']:g}",
        "Labelled tiles without salt": f"{metrics['tiles']['labelled_empty']:,}",
        "Constant tiles": f"{metrics['tiles']['constant']:,}",
    }
    return (
        '<section id="details">\n<h2>Details</h2>\n'
        f"{_facts(facts)}\n"
        f"{_postprocessing_table(metrics['postprocessing'])}\n"
        f"{_folds_table(metrics['folds'])}\n{_submission_table(metrics['submission'])}\n</section>"
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _facts(facts: dict[str, str]) -> str:
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items()
    )
    return f'<dl class="facts">{cells}</dl>'


def _postprocessing_table(effects: dict[str, Any]) -> str:
    """Say what each step does to the out-of-fold score, whether or not it was applied."""
    rows: list[tuple[str, ...]] = []
    for key, effect in effects.items():
        name, (low, high) = POSTPROCESSING[key], effect["interval"]
        pixels = f", {effect['pixels']} px" if "pixels" in effect else ""
        rows.append(
            (
                name + pixels,
                "yes" if effect["applied"] else "no",
                f"{effect['masks_changed']:,}",
                f"{effect['gain']:+.4f}",
                f"{low:+.4f} to {high:+.4f}",
            )
        )
    note = (
        "What each step alone does to the out-of-fold score at threshold 0.5; an interval that "
        "includes zero shows no gain. Out-of-fold maps are informed by predictions on neighbours, "
        "test maps by true masks as well, and the second row shows what those add."
    )
    heads = ("", "Applied", "Masks changed", "Gain", "95 % interval")
    return table_card("Post-processing by sections", note, heads, rows)


def _folds_table(folds: dict[str, Any]) -> str:
    note = "How labelled tiles were shared out, and how many neighbours that tore apart."
    return table_card("Folds", note, ("", ""), _flat(folds))


def _submission_table(summary: dict[str, Any]) -> str:
    """Compare what was submitted with the labels learnt from, and repeat any warning."""
    submitted, training = summary["submission"], summary["training"]
    rows = [
        ("Tiles", f"{submitted['tiles']:,}", f"{training['tiles']:,}"),
        ("Without salt", *(f"{100 * part['empty_share']:.1f} %" for part in (submitted, training))),
        ("Mean salt", *(f"{100 * part['mean_coverage']:.1f} %" for part in (submitted, training))),
    ]
    note = " ".join(summary["warnings"]) or "The decided test masks resemble the training labels."
    return table_card("Submission", note, ("", "Test masks", "Training labels"), rows)


def table_card(title: str, note: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a titled table as HTML: names in the first column, numbers in the others."""
    head = "".join(f'<th class="number">{text}</th>' for text in heads[1:])
    body = "".join(
        f"<tr><td>{escape(row[0])}</td>"
        + "".join(f'<td class="number">{escape(text)}</td>' for text in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="card"><h3>{title}</h3><p class="lead">{escape(note)}</p>'
        f'<div class="scroll"><table><thead><tr><th>{heads[0]}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def _flat(content: Any, path: str = "") -> list[tuple[str, ...]]:
    """Return nested content as (name, text) pairs, the names of a path joined by dots."""
    if isinstance(content, dict):
        return [
            pair
            for key, value in content.items()
            for pair in _flat(value, f"{path} · {key}" if path else str(key))
        ]
    if isinstance(content, list):
        return [(path.replace("_", " "), ", ".join(map(str, content)))]
    return [(path.replace("_", " "), f"{content:,}" if isinstance(content, int) else str(content))]

"""Compare two runs' numbers: `python -m salt.report.compare A.json B.json --tolerance 0.03`.

The last bits of floats differ between machines, and training magnifies them: scores are
compared within a tolerance, what is integer work exactly, and what is no score (the decision
rule, which is picked among near ties, and temperatures) not at all.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salt.errors import StoreError, reported_errors
from salt.files import read_json

EXACT = ("source", "tiles", "folds", "baselines", "held_out.baselines")  # no network behind them
ROUNDING = 1e-5  # of "exact" floats: sums in another order
LEFT_OUT = (
    "threshold", "submission",  # picked among near ties, and what follows from it
    "calibration.temperature",  # in units of its own; what it does is compared
)  # fmt: skip


def differences(found: Any, expected: Any, tolerance: float) -> list[str]:
    """Return one line per number of two metrics.json that differs by more than allowed.

    Args:
        tolerance: greatest difference of a score, absolute.
    """
    found_leaves, expected_leaves = dict(_leaves(found)), dict(_leaves(expected))
    lines = [f"{key}: missing, expected {expected_leaves[key]!r}"
             for key in expected_leaves.keys() - found_leaves.keys()]  # fmt: skip
    lines += [f"{key}: got {found_leaves[key]!r}, expected no such number"
              for key in found_leaves.keys() - expected_leaves.keys()]  # fmt: skip
    for key in expected_leaves.keys() & found_leaves.keys():
        got, wanted = found_leaves[key], expected_leaves[key]
        allowed = ROUNDING if _lies_in(key, EXACT) else tolerance
        if not _agree(got, wanted, allowed):
            lines.append(f"{key}: got {got!r}, expected {wanted!r} within {allowed:g}")
    return sorted(lines)


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its dotted key, without the sections left out."""
    if _lies_in(key, LEFT_OUT):
        return
    if isinstance(content, dict):
        pairs = [(str(name), item) for name, item in content.items()]
    elif isinstance(content, list):
        pairs = [(str(place), item) for place, item in enumerate(content)]
    else:
        yield key, content
        return
    for name, item in pairs:
        yield from _leaves(item, f"{key}.{name}".lstrip("."))


def _lies_in(key: str, sections: tuple[str, ...]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _agree(got: Any, wanted: Any, allowed: float) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (got, wanted))
    if not numbers or (isinstance(got, int) and isinstance(wanted, int)):
        return type(got) is type(wanted) and got == wanted
    return math.isclose(got, wanted, rel_tol=0, abs_tol=allowed)


def main() -> None:
    """Print the numbers that differ and fail if there are any."""
    parser = argparse.ArgumentParser(prog="python -m salt.report.compare", description=main.__doc__)
    parser.add_argument("found", type=Path)
    parser.add_argument("expected", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.03, help="of a score, absolute")
    options = parser.parse_args()
    lines = differences(read_json(options.found), read_json(options.expected), options.tolerance)
    for line in lines:
        print(line)
    if lines:
        raise StoreError(
            f"{options.found}: {len(lines)} numbers differ from {options.expected}. "
            "If the change is meant, renew that file from this run."
        )
    print(f"{options.found} agrees with {options.expected} within {options.tolerance:g}")


if __name__ == "__main__":
    with reported_errors():
        main()

"""List every architecture with its parameters and, on request, its cost on this machine.

    python -m salt.models [--cost [--write]] [--threads 2]

Each is built at the settings of `salt.models.references`. The output is a Markdown table, which
`--write` also puts into docs/models.md.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from salt.errors import InputError, ModelError, reported_errors
from salt.files import write_text
from salt.markdown import table, table_row, with_section
from salt.models.cost import measure_cost, parameter_count
from salt.models.references import REFERENCES, reference
from salt.models.registry import ARCHITECTURES, build_model
from salt.models.segmenter import ModelConfig

PAGE = Path("docs/models.md")
TABLE_START = "<!-- networks: written by python -m salt.models --cost --write -->"
TABLE_END = "<!-- end -->"
BATCH_SIZE = 16
HEADINGS = ["architecture", "encoder", "from", "presence from", "input", "parameters (M)"]
COST_HEADINGS = ["training (ms/tile)", "inference (ms/tile)"]


def main() -> None:
    """Print the table; an architecture whose library is missing is named on stderr.

    Raises:
        InputError: the table is to be written, and is not whole, or there is no page.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", action="store_true", help="also measure time per tile")
    parser.add_argument("--write", action="store_true", help=f"with --cost: write it to {PAGE}")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for torch")
    options = parser.parse_args()
    if options.write and not options.cost:
        parser.error("--write needs --cost")
    torch.set_num_threads(options.threads)
    headings = HEADINGS + COST_HEADINGS * options.cost
    print(table(headings, []), end="")
    rows = []
    for name, changes in REFERENCES:
        try:
            rows.append(describe(reference(name, changes), options.cost))
            print(table_row(rows[-1]), flush=True)
        except ModelError as error:
            print(error, file=sys.stderr)
    if options.write:
        write_page(PAGE, rows, options.threads)


def describe(config: ModelConfig, cost: bool) -> list[str]:
    """Build a network and return its cells."""
    torch.manual_seed(0)
    entry, network = ARCHITECTURES[config.architecture], build_model(config)
    cells = [
        config.architecture,
        config.encoder if entry.encoder else "",
        entry.source,
        entry.presence,
        str(config.input_size),
        f"{parameter_count(network) / 1e6:.2f}",
    ]
    if cost:
        cells += [f"{value:.1f}" for value in measure_cost(network, BATCH_SIZE)]
    return cells


def write_page(page: Path, rows: list[list[str]], threads: int) -> None:
    """Replace the table of the page by one with costs, and say what they were measured on.

    Raises:
        InputError: a row is missing, or the page.
    """
    if len(rows) < len(REFERENCES):
        raise InputError(
            f"{page}: {len(rows)} of {len(REFERENCES)} networks could be built; expected all, "
            "so that the table is whole. Install the libraries named above."
        )
    if not page.is_file():
        raise InputError(f"{page}: no such page. Run from the project's root.")
    measured = (
        f"Cost: float32, batches of {BATCH_SIZE}, {threads} of {os.cpu_count()} CPUs, "
        f"torch {torch.__version__}.\n"
    )
    content = table(HEADINGS + COST_HEADINGS, rows) + "\n" + measured
    write_text(page, with_section(page.read_text(), TABLE_START, TABLE_END, content))


if __name__ == "__main__":
    with reported_errors():
        main()

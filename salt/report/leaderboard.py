"""Keep a finished run: `python -m salt.report.leaderboard NAME --command "dvc repro"`.

Copies the run into leaderboard/NAME/ and rewrites the table of leaderboard/README.md from
all entries. Run it on the machine that made the run: hardware.json describes this one.
"""

import argparse
import gzip
import hashlib
import io
import os
import platform
import re
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from salt import provenance
from salt.errors import InputError, StoreError, reported_errors
from salt.files import read_json, replacing, write_json, write_text
from salt.markdown import table, with_section
from salt.params import PARAMS_FILE, load_params, read_yaml

BOARD = Path("leaderboard")
METRICS = Path("data/report/metrics.json")
SUBMISSION = Path("data/submit/submission.csv")
TABLE_START, TABLE_END = "<!-- entries: written by salt.report.leaderboard -->", "<!-- end -->"
TITLE = "# Leaderboard\n\nFinished runs, each with all it takes to make it again.\n"
COLUMNS = (
    "Entry", "Data", "Out-of-fold score", "95 % interval", "Held-out score", "No salt anywhere",
    "Otsu", "Network", "Machine", "Command",
)  # fmt: skip
PACKAGES = (
    "torch", "torchvision", "timm", "albumentations", "numpy",
    "scipy", "pandas", "scikit-image", "safetensors", "dvc",
)  # fmt: skip
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def add_entry(root: Path, name: str, command: str) -> Path:
    """Copy the finished run of the project at `root` into leaderboard/`name`; return that folder.

    An entry of that name is replaced.

    Raises:
        InputError: the name is not a plain one.
        ParameterError: params.yaml is invalid.
        StoreError: the run is not finished, or params.yaml is not what it was run with.
    """
    if not _PLAIN_NAME.fullmatch(name):
        raise InputError(
            f"entry name {name!r}; expected letters, digits, '.', '_' and '-', starting with a "
            "letter or digit. Choose another name."
        )
    load_params(root / PARAMS_FILE)
    _require_run_with(root / PARAMS_FILE, root / "dvc.lock")
    _require_metrics_of_run(root / METRICS, root / "dvc.lock")
    metrics = read_json(root / METRICS)
    submission = _packed(root / SUBMISSION)
    entry = root / BOARD / name
    write_text(entry / "params.yaml", (root / PARAMS_FILE).read_text())
    write_json(entry / "metrics.json", metrics)
    write_json(entry / "hardware.json", describe_machine())
    write_text(entry / "command.txt", command.strip() + "\n")
    with replacing(entry / "submission.csv.gz") as part:
        part.write_bytes(submission)
    rewrite_table(root / BOARD)
    return entry


def rewrite_table(board: Path) -> None:
    """Rewrite the table in README.md from all entries; text around the table stays."""
    readme = board / "README.md"
    text = readme.read_text() if readme.exists() else TITLE
    entries = [_row(folder.parent) for folder in board.glob("*/metrics.json")]
    entries.sort(key=lambda row: (row[1], -float(row[2]), row[0]))
    write_text(readme, with_section(text, TABLE_START, TABLE_END, table(COLUMNS, entries)))


def describe_machine() -> dict[str, Any]:
    """Return processor, memory, GPU, versions and the code's commit."""
    code = provenance.code()
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page_size / 2**30, 1),
        "gpu": _gpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "git_commit": code["git.commit"],
        "git_dirty": code["git.dirty"] == "true",
    }


def _require_run_with(params_file: Path, lock: Path) -> None:
    """Refuse parameters that differ from those the lock file says the stages ran with."""
    if not lock.exists():
        raise StoreError(f"{lock}: no such file; expected the record of a run. Run `dvc repro`.")
    settings, stages = read_yaml(params_file), read_yaml(lock)["stages"]
    for stage, record in stages.items():
        for key, used in record.get("params", {}).get(PARAMS_FILE.name, {}).items():
            now: Any = settings
            for part in key.split("."):
                now = now.get(part) if isinstance(now, dict) else None
            if now != used:
                raise StoreError(
                    f"{params_file}: {key} is {now!r}, but stage {stage} ran with {used!r}; "
                    "expected the parameters of the finished run. Run `dvc repro`."
                )


def _require_metrics_of_run(metrics: Path, lock: Path) -> None:
    """Refuse a metrics.json that is not the one the lock file recorded."""
    outs = [out for stage in read_yaml(lock)["stages"].values() for out in stage.get("outs", [])]
    recorded = {out["path"]: out.get("md5") for out in outs}.get(METRICS.as_posix())
    if not metrics.exists() or hashlib.md5(metrics.read_bytes()).hexdigest() != recorded:
        raise StoreError(
            f"{metrics}: not the file that {lock} records; expected the metrics of a finished run. "
            "Run `dvc repro`."
        )


def _packed(path: Path) -> bytes:
    """Return the file gzipped, without name and time, so that equal files are equal bytes."""
    if not path.exists():
        raise StoreError(f"{path}: no such file; expected the submission. Run `dvc repro`.")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as packed:
        packed.write(path.read_bytes())
    return buffer.getvalue()


def _row(entry: Path) -> tuple[str, ...]:
    metrics, machine = read_json(entry / "metrics.json"), read_json(entry / "hardware.json")
    model = read_yaml(entry / "params.yaml")["model"]
    scored, baselines = metrics["out_of_fold"], metrics["baselines"]
    held_out = metrics.get("held_out")
    command = (entry / "command.txt").read_text().strip().replace("|", "\\|")
    return (
        f"[{entry.name}]({entry.name}/)",
        metrics["source"],
        f"{scored['score']:.4f}",
        "{:.3f} to {:.3f}".format(*scored["interval"]),
        f"{held_out['score']:.4f}" if held_out else "unknown",
        f"{baselines['all_empty']:.3f}",
        f"{baselines['otsu']:.3f}",
        f"{model['architecture']}, {model['encoder']}",
        machine["gpu"] or f"{machine['cores']} x {machine['cpu']}",
        f"`{command}`",
    )


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu_model() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def main() -> None:
    """Add the run in the current folder."""
    parser = argparse.ArgumentParser(prog="python -m salt.report.leaderboard", description=__doc__)
    parser.add_argument("name", help="folder of the entry below leaderboard/")
    parser.add_argument("--command", required=True, help="what was run, exactly")
    given = parser.parse_args()
    entry = add_entry(Path(), given.name, given.command)
    print(f"leaderboard: wrote {entry}/ and the table in {BOARD}/README.md")


if __name__ == "__main__":
    with reported_errors():
        main()

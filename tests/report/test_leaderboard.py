"""A leaderboard entry is the finished run, whole and unchanged."""

import gzip
import hashlib
from pathlib import Path

import pytest

from salt.errors import InputError, ParameterError, StoreError
from salt.files import read_json, write_json, write_text
from salt.report import leaderboard
from salt.report.leaderboard import add_entry

PARAMS = (Path(__file__).resolve().parents[2] / "params.yaml").read_text()
METRICS = {
    "source": "demo",
    "out_of_fold": {"score": 0.81234, "interval": [0.79, 0.83]},
    "baselines": {"all_empty": 0.39, "otsu": 0.12},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose pipeline has run, on a machine without GPU."""
    monkeypatch.setattr(leaderboard, "_gpu_model", lambda: None)  # spares the import of torch
    write_text(tmp_path / "params.yaml", PARAMS)
    finish(tmp_path, METRICS)
    write_text(tmp_path / "data/submit/submission.csv", "id,rle_mask\na,1 2\n")
    return tmp_path


def finish(project: Path, metrics: dict) -> None:
    """Write metrics and the lock file that records them with two of the parameters."""
    path = project / "data/report/metrics.json"
    write_json(path, metrics)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    write_text(
        project / "dvc.lock",
        "schema: '2.0'\nstages:\n"
        "  train@0:\n    params:\n      params.yaml:\n        train.learning_rate: 0.001\n"
        "  report:\n    params:\n      params.yaml:\n        seed: 2018\n"
        f"    outs:\n    - path: data/report/metrics.json\n      md5: {digest}\n",
    )


def test_an_entry_holds_all_that_makes_the_run_again(project: Path) -> None:
    entry = add_entry(project, "first", "dvc repro")
    assert (entry / "params.yaml").read_text() == PARAMS
    assert read_json(entry / "metrics.json") == METRICS
    assert (entry / "command.txt").read_text() == "dvc repro\n"
    packed = (entry / "submission.csv.gz").read_bytes()
    assert gzip.decompress(packed) == b"id,rle_mask\na,1 2\n"
    machine = read_json(entry / "hardware.json")
    assert machine["cores"] > 0
    assert {"python", "torch", "numpy", "timm"} <= set(machine["versions"])
    assert {"cpu", "memory_gib", "gpu", "git_commit", "git_dirty"} <= set(machine)


def test_the_same_run_packs_to_the_same_bytes(project: Path) -> None:
    one, two = (add_entry(project, name, "dvc repro") for name in ("one", "two"))
    packed = [(entry / "submission.csv.gz").read_bytes() for entry in (one, two)]
    assert packed[0] == packed[1]
    assert packed[0][4:8] == b"\0\0\0\0"  # no time of packing


def test_the_table_lists_all_entries_best_first_and_keeps_the_text_around(project: Path) -> None:
    add_entry(project, "first", "dvc repro")
    readme = project / "leaderboard/README.md"
    write_text(readme, "# My board\n" + readme.read_text().partition("\n")[2] + "Kept.\n")
    finish(project, METRICS | {"out_of_fold": {"score": 0.9, "interval": [0.8, 1.0]}})
    add_entry(project, "second", "a | b")
    text = readme.read_text()
    assert text.startswith("# My board\n")
    assert text.endswith("Kept.\n")
    assert text.index("[second](second/)") < text.index("[first](first/)")
    assert text.count("| Entry |") == 1
    assert "`a \\| b`" in text


def test_an_entry_can_be_replaced(project: Path) -> None:
    add_entry(project, "first", "dvc repro")
    add_entry(project, "first", "dvc exp run")
    text = (project / "leaderboard/README.md").read_text()
    assert text.count("[first]") == 1
    assert "`dvc exp run`" in text


@pytest.mark.parametrize("name", ["../x", "/x", "", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_plain_name_is_refused(project: Path, name: str) -> None:
    with pytest.raises(InputError, match="entry name"):
        add_entry(project, name, "dvc repro")


def test_parameters_changed_after_the_run_are_refused(project: Path) -> None:
    write_text(project / "params.yaml", PARAMS.replace("seed: 2018", "seed: 2019"))
    with pytest.raises(StoreError, match="seed is 2019, but stage report ran with 2018"):
        add_entry(project, "first", "dvc repro")
    assert not (project / "leaderboard").exists()


def test_metrics_that_the_lock_does_not_record_are_refused(project: Path) -> None:
    write_json(project / "data/report/metrics.json", METRICS | {"source": "tgs"})
    with pytest.raises(StoreError, match=r"not the file that .*dvc\.lock records"):
        add_entry(project, "first", "dvc repro")


def test_an_unfinished_run_is_refused(project: Path) -> None:
    (project / "data/submit/submission.csv").unlink()
    with pytest.raises(StoreError, match=r"submission\.csv: no such file"):
        add_entry(project, "first", "dvc repro")
    (project / "dvc.lock").unlink()
    with pytest.raises(StoreError, match=r"dvc\.lock: no such file"):
        add_entry(project, "first", "dvc repro")


def test_invalid_parameters_are_refused(project: Path) -> None:
    write_text(project / "params.yaml", PARAMS + "\nunknown: 1\n")
    with pytest.raises(ParameterError, match="unknown"):
        add_entry(project, "first", "dvc repro")

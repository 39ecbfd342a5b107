"""Tests of benchmarks/ablation.py: what a table says, and what it refuses."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_project import FOLDS

from benchmarks.ablation import (
    chosen_rows,
    flat,
    main,
    read_table,
    render_page,
    restored,
    score_folds,
    tile_values,
)
from salt.errors import InputError
from salt.files import read_csv
from salt.metrics import tile_scores
from salt.store import open_store

ROWS: list[dict[str, Any]] = [
    {"name": "plain", "set": {}},
    {"name": "attention", "set": {"model": {"attention": "scse"}}},
    {"name": "other folds", "set": {}, "reference": "attention"},
]
TABLE = {"title": "Rows", "about": "Text.", "budget": {"train": {"epochs": 8}}, "folds": [0],
         "reference": "plain", "rows": ROWS}  # fmt: skip
RESULTS = {
    "plain": {"score": 0.25, "seconds": 10, "tenths": "05.50"},
    "attention": {"score": 0.75, "seconds": 12, "tenths": "5A.A5"},
    "other folds": {"score": 1.0, "seconds": 14, "tenths": "A.A.."},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "table.yaml"
    path.write_text(json.dumps(TABLE | changes))
    return path


def test_a_page_has_a_line_per_row_with_settings_score_and_paired_gain() -> None:
    lines = render_page(TABLE, RESULTS).splitlines()[-3:]
    assert lines[0] == "| plain | the budget alone | 4 | 0.2500 |  |  | 10 |"
    assert lines[1].startswith('| attention | `model.attention="scse"` | 4 | 0.7500 | +0.5000 | ')
    assert "train.epochs 8" in render_page(TABLE, RESULTS)


def test_a_row_is_compared_with_its_own_reference_on_the_tiles_both_scored() -> None:
    cells = render_page(TABLE, RESULTS).splitlines()[-1].split(" | ")
    assert cells[2:5] == ["2", "1.0000", "+0.5000 over *attention*"]
    assert cells[5] == "+0.5000 to +0.5000"  # one tile in common


def test_a_row_of_the_second_round_says_so() -> None:
    rows = [ROWS[0], {**ROWS[1], "stage": "student"}]
    last = render_page(TABLE | {"rows": rows}, RESULTS).splitlines()[-1]
    assert last.startswith('| attention | second round `model.attention="scse"` | 4 |')


def test_a_row_that_was_not_run_has_no_figures() -> None:
    lines = render_page(TABLE, {"attention": RESULTS["attention"]}).splitlines()[-3:]
    assert lines[0] == "| plain |  | not run yet | | | | |"
    assert lines[1].endswith("| 4 | 0.7500 |  |  | 12 |")  # nor a gain over one


def test_rows_are_run_in_the_tables_order_and_unknown_ones_refused() -> None:
    assert chosen_rows(TABLE, []) == ROWS
    assert chosen_rows(TABLE, ["attention", "plain"]) == ROWS[:2]
    with pytest.raises(InputError, match="no row \\['nobody'\\]; expected some of"):
        chosen_rows(TABLE, ["nobody"])


def test_a_digit_is_a_tenth_of_a_score_and_a_dot_an_unscored_tile() -> None:
    np.testing.assert_array_equal(tile_values({"tenths": "07A."}), [0.0, 0.7, 1.0, np.nan])


def test_every_labelled_tile_is_scored_in_its_row(finished_project: Path, monkeypatch) -> None:
    monkeypatch.chdir(finished_project)
    store = open_store(Path("data/ingest"))
    tenths = score_folds(FOLDS, Path("data/train"))
    assert (tenths >= 0).all()
    fold = FOLDS[0]
    rows = store.rows_of(list(read_csv(Path(f"data/train/{fold}/oof_tiles.csv"))["id"]))
    masks = np.load(f"data/train/{fold}/oof_probability.npy") > 0.5
    expected = tile_scores(masks, store.masks[rows], store.ignore[rows]) * 10
    np.testing.assert_allclose(tenths[rows], expected)
    others = np.setdiff1d(np.arange(len(store.masks)), rows)
    assert (score_folds([fold], Path("data/train"))[others] == -1).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "nobody"},
        {"rows": [*ROWS, ROWS[0]]},
        {"rows": []},
        {"rows": [{**ROWS[0], "stage": "refine"}, *ROWS[1:]]},
    ],
)
def test_a_table_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict) -> None:
    with pytest.raises(InputError, match=r"Mend the table\.$"):
        read_table(write(tmp_path, **changes))


def test_a_table_without_rows_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("{folds: [0]}")
    with pytest.raises(InputError, match=r"expected title, about, budget, folds, reference, rows"):
        read_table(path)


def test_files_come_back_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), restored(path, copies=tmp_path / "copies"):
        path.write_text("after")
        raise ZeroDivisionError
    assert path.read_text() == "before"


def test_files_come_back_after_a_request_to_end(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("before")
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit), restored(path, copies=tmp_path / "copies"):
            path.write_text("after")
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert path.read_text() == "before"


def test_files_that_a_kill_left_changed_come_back_at_the_next_start(tmp_path: Path, capsys) -> None:
    path, copies = tmp_path / "params.yaml", tmp_path / "copies"
    path.write_text("a row's")
    copies.mkdir()
    (copies / path.name).write_text("before")
    with restored(path, copies=copies):
        assert path.read_text() == (copies / path.name).read_text() == "before"
        path.write_text("another row's")
    assert path.read_text() == "before"
    assert "before a killed run" in capsys.readouterr().err
    assert not list(copies.iterdir())


def test_nested_settings_become_dotted_ones() -> None:
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}


def test_finished_rows_are_not_run_again(tmp_path: Path, monkeypatch) -> None:
    rows = [ROWS[0], {**ROWS[1], "stage": "student"}]
    monkeypatch.setattr("benchmarks.ablation.RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.ablation.PAGES", tmp_path)
    monkeypatch.setattr("benchmarks.ablation.COPIES", tmp_path / "copies")
    monkeypatch.setattr("sys.argv", ["ablation", str(write(tmp_path, rows=rows))])
    runs: list[Any] = []

    def run_row(settings: Any, folds: list[int], stage: str = "train") -> dict[str, Any]:
        runs.append((settings["model"]["attention"], folds, stage))
        return RESULTS["plain"]

    monkeypatch.setattr("benchmarks.ablation.run_row", run_row)
    main()
    main()
    assert runs == [("scse", [0], "train"), ("scse", [0], "student")]
    assert "| attention |" in (tmp_path / "table.md").read_text()

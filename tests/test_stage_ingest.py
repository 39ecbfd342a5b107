import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from salt.store import open_store

ROOT = Path(__file__).resolve().parents[1]
TINY_DEMO = {"blocks": 2, "test_blocks": 1, "inlines": 1, "empty_share": 0.4}


def run_stage(folder: Path, **data: str) -> subprocess.CompletedProcess[str]:
    """Run the stage in a folder of its own with some of `data` changed."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= data
    params["demo"] |= TINY_DEMO
    if data.get("source") == "tgs":
        params["index"]["stack"] = "depth"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return subprocess.run(
        [sys.executable, "-m", "stages.ingest"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    result = run_stage(folder, source="demo")
    assert result.returncode == 0, result.stderr
    return folder


def test_the_demo_becomes_a_store_with_positions_and_truth_apart(demo: Path) -> None:
    store = open_store(demo / "data/ingest")
    assert 0 < len(store.labelled) < len(store.table)
    assert list(store.table)[-4:] == ["volume", "inline", "crossline", "sample"]
    assert (demo / "data/ingest/truth/masks.npy").is_file()
    assert (demo / "data/ingest/sample_submission.csv").is_file()
    assert (demo / "data/ingest/neighbours.csv").read_text() == "id,left,right,up,down\n"
    assert [path.name for path in (demo / "data").iterdir()] == ["ingest"]


def test_the_demo_is_the_same_bytes_in_another_folder(demo: Path, tmp_path: Path) -> None:
    assert run_stage(tmp_path, source="demo").returncode == 0
    assert files(tmp_path / "data") == files(demo / "data")


def test_kaggles_layout_is_read_from_data_raw(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo / "data/ingest/kaggle", tmp_path / "download")
    result = run_stage(tmp_path, source="tgs", raw="download")
    assert result.returncode == 0, result.stderr
    written, expected = files(tmp_path / "data/ingest"), files(demo / "data/ingest")
    assert written and written.items() <= expected.items()
    assert "ingest" in result.stderr  # the progress bar


def test_without_kaggles_files_one_line_says_where_they_go(tmp_path: Path) -> None:
    result = run_stage(tmp_path, source="tgs", raw="data/raw")
    assert result.returncode == 1
    assert result.stderr.startswith("error: data/raw: no such folder; expected Kaggle's train.csv")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()

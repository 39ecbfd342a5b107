"""From the folders of finished runs to a submission and its score."""

from pathlib import Path

import numpy as np
import pytest
from fabricated_runs import edit_table, write_run
from tiny_project import files_of

from salt.blend.__main__ import main
from salt.errors import StoreError
from salt.files import read_array, read_csv, read_json
from salt.infer.rule import Grid, apply_rule
from salt.infer.submission import validate_submission
from salt.infer.threshold import choose_rule_of, read_rule
from salt.params import load_params
from salt.rle import decode
from salt.store import open_store


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs of a tiny project, named from its folder."""
    store = open_store(project / "data/ingest")
    for seed, name in enumerate(["first", "second"]):
        write_run(project / name, store, seed, noise=0.15)
    monkeypatch.chdir(project)
    return ["first", "second"]


def test_two_runs_become_a_valid_submission_of_their_mean(runs: list[str]) -> None:
    main([*runs, "--out", "blend"])
    mean = read_array(Path("blend/ensemble/test_probability.npy"))
    presence = read_csv(Path("blend/ensemble/test_tiles.csv"))["presence"].to_numpy()
    masks = apply_rule(mean, presence, read_rule(Path("blend/threshold/rule.json")))
    sample = Path("data/ingest/sample_submission.csv")
    coverage = validate_submission(Path("blend/submit/submission.csv"), sample)
    assert coverage.tolist() == pytest.approx(masks.mean(axis=(1, 2)).tolist())
    submission = read_csv(Path("blend/submit/submission.csv"), ("id", "rle_mask"))
    assert np.array_equal(decode(submission["rle_mask"][0], 101, 101), masks[0])


def test_the_summary_scores_each_run_and_the_blend_as_the_threshold_stage_does(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*runs, "--out", "blend", "--weights", "fitted"])
    summary = read_json(Path("blend/summary.json"))
    store = open_store(Path("data/ingest"))
    grid = Grid.spanning(**load_params().threshold.model_dump())
    for run in summary["runs"]:
        choice = choose_rule_of(Path(run["run"]), store, grid)
        assert run["score"] == pytest.approx(choice.scores.mean())
        assert run["gain_of_blend"]["mean"] > 0  # noise of two runs evens out
    scores = read_csv(Path("blend/threshold/scores.csv"))["score"]
    assert summary["blend"]["score"] == pytest.approx(scores.mean())
    assert summary["blend"]["score"] == pytest.approx(
        read_json(Path("blend/threshold/summary.json"))["cross_fitted"]["score"]
    )
    assert list(summary["weights_by_fold"]) == ["0", "1", "test"]
    for weights in summary["weights_by_fold"].values():
        assert sum(weights[name] for name in runs) == pytest.approx(1)
    assert Path("blend/summary.md").read_text() in capsys.readouterr().out


def test_blending_again_gives_the_same_bytes(runs: list[str]) -> None:
    for out in ("once", "again"):
        main([*runs, "--out", out, "--average", "logit"])
    assert files_of(Path("once")) == files_of(Path("again"))


def test_a_blend_can_be_blended_on(runs: list[str]) -> None:
    main([*runs, "--out", "blend", "--weights", "fitted"])
    main(["blend/ensemble", "second", "--out", "further"])
    assert read_json(Path("further/summary.json"))["runs"][0]["run"] == "blend/ensemble"


def test_what_is_refused_leaves_nothing_behind(runs: list[str]) -> None:
    edit_table(Path("second/oof_tiles.csv"), lambda t: t.assign(fold=1 - t["fold"]))
    with pytest.raises(StoreError, match="in other folds"):
        main([*runs, "--out", "blend"])
    assert not Path("blend").exists()


def test_neither_runs_nor_the_projects_stages_are_overwritten(runs: list[str]) -> None:
    main([*runs, "--out", "blend"])
    before = files_of(Path("blend"))
    with pytest.raises(StoreError, match=r"blend/ensemble would be overwritten"):
        main(["first", "blend/ensemble", "--out", "blend"])
    assert files_of(Path("blend")) == before
    with pytest.raises(StoreError, match=r"data/ensemble would be overwritten"):
        main([*runs, "--out", "data"])

"""The vectorised search against a plain loop, and the stage's files against both."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.morphology import remove_small_holes, remove_small_objects

from salt.errors import StoreError
from salt.files import write_array, write_csv, write_json
from salt.infer.evidence import gather_evidence
from salt.infer.rule import Grid, Rule, apply_rule
from salt.infer.threshold import choose_rule, fit_rule, read_rule
from salt.metrics import mean_score, tile_scores
from salt.store import COLUMNS, TILE_SIZE, write_store

SIDE = 6
GRID = Grid.spanning(candidates=7, minimum_sizes=[0, 4, 12], presence_gates=[0.0, 0.3, 0.6])
SHAPED = Grid.spanning(5, [0, 9], [0.0, 0.4], minimum_components=[0, 1, 3, 8], fill_holes=[0, 2, 6])


WHOLE = {
    "threshold": 0.5,
    "minimum_size": 0,
    "presence_gate": 0.0,
    "minimum_component": 0,
    "fill_holes": 0,
}


def random_tiles(seed: int, tiles: int = 90, side: int = SIDE) -> dict[str, np.ndarray]:
    """Return maps that half know the truth, at values that often equal a threshold."""
    generator = np.random.default_rng(seed)
    truths = generator.random((tiles, side, side)) < generator.choice(
        [0, 0, 0.3, 0.9], (tiles, 1, 1)
    )
    noise = generator.integers(0, 9, truths.shape) / 8
    probability = np.where(generator.random(truths.shape) < 0.6, 0.25 + truths / 2, noise)
    presence = np.where(
        generator.random(tiles) < 0.1, np.nan, generator.integers(0, 11, tiles) / 10
    )
    return {
        "probability": probability.astype(np.float16),
        "presence": presence,
        "truths": truths.astype(np.uint8),
        "ignore": (generator.random(truths.shape) < 0.1).astype(np.uint8),
        "folds": generator.integers(0, 3, tiles),
    }


def evidence_of(tiles: dict[str, np.ndarray], ignore: bool = True, grid: Grid = GRID):
    return gather_evidence(
        tiles["probability"],
        tiles["presence"],
        tiles["truths"],
        tiles["ignore"] if ignore else None,
        grid,
    )


def decide(probability: np.ndarray, presence: float, rule: Rule) -> np.ndarray:
    """Apply a rule to one tile in the plainest way, in float64."""
    mask = probability.astype(np.float64) >= rule.threshold
    if rule.minimum_component:
        mask = remove_small_objects(mask, max_size=rule.minimum_component - 1)
    if rule.fill_holes:
        mask = remove_small_holes(mask, max_size=rule.fill_holes)
    if mask.sum() < rule.minimum_size or presence < rule.presence_gate:
        return np.zeros_like(mask)
    return mask


def rules(grid: Grid) -> list[Rule]:
    shapes = (grid.minimum_components, grid.fill_holes)
    axes = (*shapes, grid.minimum_sizes, grid.presence_gates, grid.thresholds)
    return [
        Rule(float(t), int(s), float(g), int(c), int(f))
        for c, f, s, g, t in itertools.product(*axes)
    ]


def loop_scores(tiles: dict[str, np.ndarray], rule: Rule, ignore: bool = True) -> np.ndarray:
    pairs = zip(tiles["probability"], tiles["presence"], strict=True)
    masks = np.stack([decide(probability, presence, rule) for probability, presence in pairs])
    return tile_scores(masks, tiles["truths"], tiles["ignore"] if ignore else None)


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize(("grid", "seed"), [(GRID, 0), (GRID, 1), (SHAPED, 2), (SHAPED, 3)])
def test_the_evidence_scores_every_rule_as_a_plain_loop_does(grid, seed, ignore):
    tiles = random_tiles(seed, side=SIDE if grid is GRID else 12)
    evidence = evidence_of(tiles, ignore, grid)
    for rule in rules(grid):
        expected = loop_scores(tiles, rule, ignore)
        assert evidence.scores(rule).tolist() == expected.tolist(), rule
        masks = apply_rule(tiles["probability"], tiles["presence"], rule)
        used = tiles["ignore"] if ignore else None
        assert tile_scores(masks, tiles["truths"], used).tolist() == expected.tolist(), rule


@pytest.mark.parametrize(("grid", "seed"), [(GRID, 0), (GRID, 1), (SHAPED, 2)])
def test_the_chosen_rules_are_the_best_a_plain_loop_finds(grid, seed):
    tiles = random_tiles(seed)
    choice = choose_rule(evidence_of(tiles, grid=grid), tiles["folds"])
    every = {rule: loop_scores(tiles, rule) for rule in rules(grid)}
    for fold, rule in choice.fold_rules.items():
        others = tiles["folds"] != fold
        best = max(scores[others].sum() for scores in every.values())
        assert every[rule][others].sum() == pytest.approx(best, abs=1e-9)
        assert choice.scores[~others].tolist() == every[rule][~others].tolist()
    assert every[choice.rule].sum() == pytest.approx(max(s.sum() for s in every.values()), abs=1e-9)
    assert choice.in_sample_score == pytest.approx(every[choice.rule].mean())


def test_thresholds_finer_than_float16_still_split_stored_values_exactly():
    tiles = random_tiles(5)
    stored = float(np.float16(0.3))
    thresholds = np.array([np.nextafter(stored, 0), stored, np.nextafter(stored, 1)])
    tiles["probability"][:] = np.where(tiles["truths"] == 1, np.float16(0.3), np.float16(0.2))
    grid = Grid(thresholds, np.array([0]), np.array([0.0]))
    evidence = evidence_of(tiles, ignore=False, grid=grid)
    assert (evidence.areas[0, 0, :, 0] == tiles["truths"].sum(axis=(1, 2))).all()
    assert (evidence.areas[0, 0, :, 1] == evidence.areas[0, 0, :, 0]).all()
    assert (evidence.areas[0, 0, :, 2] == 0).all()


def test_the_minimum_size_counts_ignored_pixels_too_because_test_tiles_have_none():
    probability = np.zeros((1, 2, 2), np.float16)
    probability[0, 0] = 0.9
    truths, ignore = (probability > 0.5).astype(np.uint8), np.zeros((1, 2, 2), np.uint8)
    ignore[0, 0, 0] = 1
    evidence = gather_evidence(probability, np.array([np.nan]), truths, ignore, GRID)
    assert evidence.areas[0, 0, 0, 3] == 2
    assert evidence.tenths[0, 0, 0, 3] == 10


def toy(probabilities: list[float], truths: list[int], grid: Grid):
    """Return the choice on tiles of one pixel, in two equal folds of the same tiles."""
    probability = np.array(probabilities * 2, np.float16)[:, None, None]
    truth = np.array(truths * 2, np.uint8)[:, None, None]
    folds = np.repeat([0, 1], len(truths))
    presence = np.full(len(folds), np.nan)
    return choose_rule(gather_evidence(probability, presence, truth, None, grid), folds)


def test_of_equal_thresholds_the_middle_of_the_plateau_is_chosen():
    grid = Grid.spanning(9, [0], [0.0])  # 0.1 ... 0.9; 0.3 to 0.7 separate 0.2 from 0.7
    assert toy([0.25, 0.75], [0, 1], grid).rule.threshold == 0.5
    assert toy([0.25, 0.45], [0, 1], grid).rule.threshold == 0.3  # 0.3, 0.4: the lower middle


def test_the_longest_plateau_wins_over_an_isolated_best():
    grid = Grid.spanning(9, [0], [0.0])
    # 0.1 and 0.4 ... 0.9 each decide three of four tiles, 0.2 and 0.3 only two
    choice = toy([0.05, 0.15, 0.35, 0.95], [0, 1, 0, 1], grid)
    assert choice.rule.threshold == 0.6


def test_of_equal_rules_the_one_that_interferes_least_is_chosen():
    grid = Grid.spanning(9, [1, 0], [0.5, 0.0])
    rule = toy([0.25, 0.75], [0, 1], grid).rule
    assert (rule.minimum_size, rule.presence_gate) == (0, 0.0)


def test_a_minimum_size_and_a_gate_are_chosen_where_they_help():
    probability = np.zeros((6, 4, 4), np.float16)
    probability[:, 0, 0] = 0.9  # a speck everywhere
    probability[::3, :2] = 0.9  # salt
    truths = np.zeros((6, 4, 4), np.uint8)
    truths[::3, :2] = 1
    probability[1::3, :3] = 0.9  # large but false; presence knows
    presence = np.array([0.8, 0.1, 0.8] * 2)
    grid = Grid.spanning(3, [0, 2, 4], [0.0, 0.2, 0.5])
    folds = np.repeat([0, 1], 3)
    choice = choose_rule(gather_evidence(probability, presence, truths, None, grid), folds)
    assert choice.rule == Rule(0.5, 2, 0.2)
    assert choice.scores.tolist() == [1.0] * 6


def test_small_parts_are_removed_and_holes_filled_where_that_helps():
    probability = np.zeros((4, 9, 9), np.float16)
    probability[:, 1:6, 1:6] = 0.9
    probability[:, 3, 3:5] = 0.1  # a hole of two pixels
    probability[:, 8, 7:] = 0.9  # a speck of two
    truths = np.zeros((4, 9, 9), np.uint8)
    truths[:, 1:6, 1:6] = 1
    grid = Grid.spanning(3, [0], [0.0], minimum_components=[0, 2, 3, 5], fill_holes=[0, 1, 2])
    evidence = gather_evidence(probability, np.full(4, np.nan), truths, None, grid)
    choice = choose_rule(evidence, np.array([0, 0, 1, 1]))
    assert choice.scores.tolist() == [1.0] * 4
    assert choice.rule == Rule(0.5, 0, 0.0, minimum_component=3, fill_holes=2)


def test_a_fold_never_chooses_its_own_rule():
    # fold 0 wants a threshold above 0.6, fold 1 one below 0.4: each gets the other's wish
    probability = np.array([0.6, 0.6, 0.4, 0.4], np.float16)[:, None, None]
    truths = np.array([0, 0, 1, 1], np.uint8)[:, None, None]
    folds, presence = np.array([0, 0, 1, 1]), np.full(4, np.nan)
    grid = Grid(np.array([0.3, 0.7]), np.array([0]), np.array([0.0]))
    choice = choose_rule(gather_evidence(probability, presence, truths, None, grid), folds)
    assert choice.fold_rules == {0: Rule(0.3, 0, 0.0), 1: Rule(0.7, 0, 0.0)}
    assert choice.scores.tolist() == [0.0] * 4
    assert choice.in_sample_score == 0.5


def test_a_rule_is_chosen_on_the_other_folds_as_the_folds_decision_would_have_them():
    # refined maps (fold 0's decision) want 0.7, plain ones (fold 1's, and the test tiles') 0.3
    folds, presence = np.array([0, 1]), np.full(2, np.nan)
    truths = np.ones((2, 1, 1), np.uint8)
    grid = Grid(np.array([0.3, 0.7]), np.array([0]), np.array([0.0]))

    def evidence(salt: list[float], empty: list[float]):
        probability = np.stack([salt, empty], axis=-1).astype(np.float16)[:, None]
        mask = np.concatenate([truths, np.zeros_like(truths)], axis=-1)
        return gather_evidence(probability, presence, mask, None, grid)

    refined, plain = evidence([0.9, 0.9], [0.5, 0.5]), evidence([0.5, 0.5], [0.1, 0.1])
    as_scored = evidence([0.9, 0.5], [0.5, 0.1])
    choice = choose_rule(as_scored, folds, {0: refined, 1: plain, None: plain})
    assert choice.fold_rules == {0: Rule(0.7, 0, 0.0), 1: Rule(0.3, 0, 0.0)}
    assert choice.scores.tolist() == [1.0, 1.0]
    assert (choice.rule, choice.in_sample_score) == (Rule(0.3, 0, 0.0), 1.0)
    assert choose_rule(as_scored, folds).scores.tolist() == [0.0, 0.0]  # each gets the other's


def test_a_single_fold_cannot_be_cross_fitted():
    tiles = random_tiles(0)
    with pytest.raises(StoreError, match="expected at least two"):
        choose_rule(evidence_of(tiles), np.zeros(len(tiles["folds"]), int))


def test_arrays_of_different_tiles_are_refused():
    tiles = random_tiles(0)
    tiles["truths"] = tiles["truths"][1:]
    with pytest.raises(StoreError, match="expected the same tiles"):
        evidence_of(tiles)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return ensemble, ingest and output folders around 40 random labelled tiles."""
    tiles = random_tiles(7, tiles=40, side=TILE_SIZE)
    ids = [f"{index:03d}" for index in range(40)]  # digits: must stay text
    table = pd.DataFrame({"id": ids, "split": "train", "row": range(40)}).reindex(columns=COLUMNS)
    write_store(
        tmp_path / "ingest", table, tiles["truths"] * 255, tiles["truths"], tiles["ignore"], {}
    )
    write_array(tmp_path / "ensemble" / "oof_probability.npy", tiles["probability"])
    write_array(tmp_path / "ensemble" / "oof_by_decision.npy", tiles["probability"][None])
    write_json(tmp_path / "ensemble" / "summary.json", {"decision_of": {"test": 0}})
    oof_tiles = pd.DataFrame({"id": ids, "fold": tiles["folds"], "presence": tiles["presence"]})
    write_csv(tmp_path / "ensemble" / "oof_tiles.csv", oof_tiles)
    return tmp_path / "ensemble", tmp_path / "ingest", tmp_path / "threshold"


def test_the_stage_writes_the_rule_its_scores_and_what_they_mean(folders):
    ensemble, ingest, output = folders
    fit_rule(ensemble, ingest, output, GRID, seed=1)
    tiles = random_tiles(7, tiles=40, side=TILE_SIZE)
    choice = choose_rule(evidence_of(tiles), tiles["folds"])
    assert read_rule(output / "rule.json") == choice.rule

    scores = pd.read_csv(output / "scores.csv", dtype={"id": str})
    assert scores["id"].tolist() == [f"{index:03d}" for index in range(40)]
    assert scores["score"].tolist() == choice.scores.tolist()

    summary = json.loads((output / "summary.json").read_text())
    cross_fitted, default = summary["cross_fitted"], summary["default_rule"]
    assert cross_fitted["score"] == pytest.approx(scores["score"].mean())
    assert cross_fitted["low"] <= cross_fitted["score"] <= cross_fitted["high"]
    assert default["score"] == pytest.approx(
        mean_score(tiles["probability"] >= 0.5, tiles["truths"], tiles["ignore"])
    )
    assert summary["gain_over_default"]["mean"] == pytest.approx(
        cross_fitted["score"] - default["score"]
    )
    assert summary["in_sample_score_at_final_rule"] == pytest.approx(choice.in_sample_score)
    assert [fold["fold"] for fold in summary["folds"]] == [0, 1, 2]
    assert sum(fold["tiles"] for fold in summary["folds"]) == 40


def test_the_stage_writes_the_same_bytes_again(folders, tmp_path):
    ensemble, ingest, output = folders
    fit_rule(ensemble, ingest, output, GRID, seed=1)
    fit_rule(ensemble, ingest, tmp_path / "again", GRID, seed=1)
    for name in ("rule.json", "scores.csv", "summary.json"):
        assert (output / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_tiles_without_any_presence_are_scored_ungated(folders):
    ensemble, ingest, output = folders
    tiles = pd.read_csv(ensemble / "oof_tiles.csv", dtype={"id": str})
    write_csv(ensemble / "oof_tiles.csv", tiles.assign(presence=np.nan))
    fit_rule(ensemble, ingest, output, GRID, seed=1)
    assert read_rule(output / "rule.json").presence_gate == 0.0


def test_out_of_fold_tiles_in_another_order_are_refused_before_anything_is_written(folders):
    ensemble, ingest, output = folders
    tiles = pd.read_csv(ensemble / "oof_tiles.csv", dtype={"id": str})
    write_csv(ensemble / "oof_tiles.csv", tiles[::-1])
    with pytest.raises(StoreError, match=r"oof_tiles.csv: .*store's order"):
        fit_rule(ensemble, ingest, output, GRID, seed=1)
    write_csv(ensemble / "oof_tiles.csv", tiles.drop(columns="fold"))
    with pytest.raises(StoreError, match="no column 'fold'"):
        fit_rule(ensemble, ingest, output, GRID, seed=1)
    assert not output.exists()


@pytest.mark.parametrize(
    "content",
    [
        {key: value for key, value in WHOLE.items() if key != "presence_gate"},
        {key: value for key, value in WHOLE.items() if key != "minimum_component"},
        WHOLE | {"extra": 1},
        WHOLE | {"threshold": 1.5},
        WHOLE | {"threshold": "half"},
        WHOLE | {"minimum_size": 2.5},
        WHOLE | {"minimum_component": -1},
        WHOLE | {"fill_holes": -1},
        WHOLE | {"presence_gate": None},
        [0.5, 0, 0.0],
    ],
)
def test_a_file_that_holds_no_rule_is_refused(tmp_path, content):
    write_json(tmp_path / "rule.json", content)
    with pytest.raises(StoreError, match=r"rule.json: got .* expected a threshold"):
        read_rule(tmp_path / "rule.json")

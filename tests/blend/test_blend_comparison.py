"""Scores and paired gains of a blend, by hand."""

import numpy as np
import pytest

from salt.blend.comparison import as_page, compare, plans_as_dict
from salt.blend.weights import Plan
from salt.infer.rule import DEFAULT_RULE
from salt.infer.threshold import Choice


def choice(*scores: float) -> Choice:
    return Choice(DEFAULT_RULE, 1.0, {0: DEFAULT_RULE}, np.array(scores))


def test_the_gain_over_the_best_run_is_paired_and_the_lowest_of_all() -> None:
    singles = {"a": choice(0.1, 0.2, 0.3), "b": choice(0.5, 0.1, 0.3), "c": choice(0.3, 0.3, 0.3)}
    found = compare(choice(0.6, 0.2, 0.4), singles, seed=1)
    assert found["best_run"] == "b"  # 0.3, as c has, but named first
    assert found["gain_over_best_run"] == pytest.approx({"mean": 0.1, "low": 0.1, "high": 0.1})
    gains = {run["run"]: run["gain_of_blend"] for run in found["runs"]}
    assert gains["b"] == found["gain_over_best_run"]
    assert [gain["mean"] for gain in gains.values()] == pytest.approx([0.2, 0.1, 0.1])
    assert [run["score"] for run in found["runs"]] == pytest.approx([0.2, 0.3, 0.3])
    assert found["blend"]["low"] < found["blend"]["score"] < found["blend"]["high"]


def test_a_blend_that_harms_is_shown_as_one() -> None:
    singles = {"good": choice(0.9, 0.8), "bad": choice(0.1, 0.0)}
    found = compare(choice(0.5, 0.4), singles, seed=1)
    assert found["gain_over_best_run"]["high"] < 0


def test_the_page_shows_scores_gains_and_weights() -> None:
    names, plans = ["a", "b"], {0: Plan((0.25, 0.75), (0, 0)), None: Plan((1.0, 0.0), (0, 0))}
    summary = compare(choice(0.6, 0.2), {"a": choice(0.4, 0.2), "b": choice(0.1, 0.1)}, seed=1)
    summary |= {"weights": "fitted", "average": "probability"}
    page = as_page(summary | {"weights_by_fold": plans_as_dict(names, plans)})
    assert "| 1: a | 0.3000 | 0.2000 to 0.4000 | +0.1000 | +0.0000 to +0.2000 |" in page
    assert "| **blend** | **0.4000** | 0.2000 to 0.6000 |  |  |" in page
    assert "| fold 0 | 0.250 | 0.750 |" in page
    assert "| test | 1.000 | 0.000 |" in page
    assert "best single run, a, it gains +0.1000 (95 % +0.0000 to +0.2000)" in page

"""The blend beside its runs: scores, paired gains with intervals, and the page that shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from salt.blend.weights import Plan
from salt.infer.threshold import RESAMPLES, Choice
from salt.markdown import table
from salt.metrics import bootstrap_interval, paired_gain
from salt.seeding import generator

HOW_COMPARED = (
    "Every score is out-of-fold, on the same tiles, each fold under a decision rule (and a blend "
    "under weights) chosen on the other folds. Gains are paired tile by tile; intervals are 95 %, "
    "by bootstrap over tiles. Which single run is best is told from these same scores, which "
    "flatters that run: the gain over it is, if anything, too low."
)


def compare(blend: Choice, singles: Mapping[str, Choice], seed: int) -> dict[str, Any]:
    """Return the scores of the blend and of each run, and the blend's paired gains.

    The best run is the one with the highest score on all tiles, the first of equals. It is
    picked afterwards, on the tiles it is compared on, so that the gain over it is the lowest of
    all gains.

    Args:
        blend, singles: each under its own cross-fitted rules, on the same tiles.
        seed: root seed of the intervals' resampling.
    """

    def judged(name: str, choice: Choice) -> dict[str, Any]:
        low, high = bootstrap_interval(choice.scores, RESAMPLES, generator(seed, "blend", name))
        score = float(choice.scores.mean())
        return {"score": score, "low": low, "high": high, "rule": asdict(choice.rule)}

    def gain_over(name: str, choice: Choice) -> dict[str, float]:
        rng = generator(seed, "blend", "gain", name)
        return paired_gain(blend.scores, choice.scores, RESAMPLES, rng)._asdict()

    best = max(singles, key=lambda name: singles[name].scores.mean())
    return {
        "tiles": len(blend.scores),
        "resamples": RESAMPLES,
        "blend": judged("blend", blend),
        "runs": [
            {"run": name, "gain_of_blend": gain_over(name, choice)} | judged(name, choice)
            for name, choice in singles.items()
        ],
        "best_run": best,
        "gain_over_best_run": gain_over(best, singles[best]),
        "how_compared": HOW_COMPARED,
    }


def plans_as_dict(names: Sequence[str], plans: Mapping[int | None, Plan]) -> dict[str, Any]:
    """Return each fold's weights, and those for test tiles, by the runs' names."""
    return {
        "test" if fold is None else str(fold): dict(zip(names, plan.weights, strict=True))
        for fold, plan in plans.items()
    }


def as_page(summary: Mapping[str, Any]) -> str:
    """Return the summary of a blend as a page in Markdown."""
    runs, best, blend = summary["runs"], summary["best_run"], summary["blend"]
    numbered = [f"{place}: {run['run']}" for place, run in enumerate(runs, 1)]
    rows = [
        [name, f"{run['score']:.4f}", _interval(run), *_gain(run["gain_of_blend"])]
        for name, run in zip(numbered, runs, strict=True)
    ]
    rows.append(["**blend**", f"**{blend['score']:.4f}**", _interval(blend), "", ""])
    weights = [
        [f"fold {fold}" if fold != "test" else "test", *(f"{share:.3f}" for share in own.values())]
        for fold, own in summary["weights_by_fold"].items()
    ]
    gain = summary["gain_over_best_run"]
    average, kind = summary["average"], summary["weights"]
    return "\n".join(
        [
            f"# Blend of {len(runs)} runs\n",
            f"Mean {average} under {kind} weights; {summary['tiles']} labelled tiles in "
            f"{len(weights) - 1} folds. Over the best single run, {best}, it gains "
            f"{gain['mean']:+.4f} (95 % {gain['low']:+.4f} to {gain['high']:+.4f}).\n",
            table(["run", "score", "95 %", "the blend's gain over it", "95 %"], rows),
            "Weights, by the tiles they hold for:\n",
            table(["tiles", *(f"run {place}" for place in range(1, len(runs) + 1))], weights),
            f"{summary['how_compared']}\n",
        ]
    )


def _interval(judged: Mapping[str, float]) -> str:
    return f"{judged['low']:.4f} to {judged['high']:.4f}"


def _gain(gain: Mapping[str, float]) -> list[str]:
    return [f"{gain['mean']:+.4f}", f"{gain['low']:+.4f} to {gain['high']:+.4f}"]

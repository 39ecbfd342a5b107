"""Which tiles the report shows, and why.

`python -m salt.report.gallery docs/result.png` draws the README's strip from data/.
"""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from salt.errors import StoreError, reported_errors
from salt.report.panels import Group, TileRow, labelled_row, unlabelled_row
from salt.report.picture_command import write_picture
from salt.report.run import Run
from salt.report.scores import measure_labelled
from salt.report.strip import compose
from salt.store import TEST, TRAIN

GROUPS = {
    "random": ("Drawn at random", "Labelled tiles, none picked by hand, no constant ones."),
    "best": ("Best", "Tiles with salt that score highest."),
    "worst": ("Worst", "Lowest score, most wrong pixels first."),
    "uncertain": ("Most uncertain", "Labelled tiles with the highest mean predictive entropy."),
    "test": ("Test tiles", "Half drawn at random, half the most uncertain."),
}
REVIEW_GROUPS = {
    TEST: ("Review first: test tiles", "The decisions expected to lose most score."),
    TRAIN: (
        "Review first: labelled tiles",
        "Expected to lose most, judged without their own truth. A tile that looks right here "
        "may have a wrong label.",
    ),
}
REVIEW_TILES = 4  # pictured per group
STRIP_TILES = 4
STRIP_COVERAGE = (0.15, 0.75)  # salt fraction: both classes fill enough of the tile to be seen


def build_gallery(
    run: Run,
    labelled: pd.DataFrame,
    unlabelled: pd.DataFrame,
    count: int,
    generator: np.random.Generator,
) -> list[Group]:
    """Choose `count` tiles, shared evenly among `GROUPS`, and paint them.

    `labelled` and `unlabelled` hold the measures of `salt.report.scores`.
    """
    shares = [len(part) for part in np.array_split(np.arange(count), len(GROUPS))]
    wanted = dict(zip(GROUPS, shares, strict=True))
    constant = run.store.table["is_constant"].to_numpy(bool)
    border = len(labelled)
    chosen = choose_labelled(labelled, constant[:border], wanted, generator)
    chosen["test"] = choose_unlabelled(unlabelled, constant[border:], wanted["test"], generator)
    paint = {name: unlabelled_row if name == "test" else labelled_row for name in GROUPS}
    return [
        Group(*GROUPS[name], [paint[name](run, tile) for tile in chosen[name]])
        for name in GROUPS
        if len(chosen[name])
    ]


def build_review(run: Run, ranked: pd.DataFrame) -> list[Group]:
    """Paint the first `REVIEW_TILES` test and labelled tiles of the review list."""
    return [
        Group(*texts, [_review_row(run, tile) for _, tile in first.iterrows()])
        for split, texts in REVIEW_GROUPS.items()
        if len(first := ranked[ranked["split"] == split][:REVIEW_TILES])
    ]


def _review_row(run: Run, tile: pd.Series) -> TileRow:
    (row,) = run.store.rows_of([tile["id"]])
    border = len(run.store.masks)
    painted = labelled_row(run, row) if row < border else unlabelled_row(run, row - border)
    facts = f"rank {tile['rank']} · expected loss {tile['expected_loss']:.2f} · {painted.facts}"
    return replace(painted, facts=facts)


def choose_labelled(
    measured: pd.DataFrame,
    constant: np.ndarray,
    wanted: dict[str, int],
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Choose tiles for the groups random, best, worst and uncertain; no tile comes twice."""
    tiles = measured.reset_index(drop=True)
    random = generator.permutation(np.flatnonzero(~constant))[: wanted["random"]]
    chosen = {"random": np.sort(random)}
    rankings = {
        "best": tiles[tiles["has_salt"]].sort_values(["decided", "iou"], ascending=False),
        "worst": tiles.sort_values(["decided", "wrong_pixels"], ascending=[True, False]),
        "uncertain": tiles.sort_values("uncertainty", ascending=False, kind="stable"),
    }
    taken = set(random.tolist())
    for name, ranking in rankings.items():
        free = [tile for tile in ranking.index if tile not in taken][: wanted[name]]
        chosen[name] = np.array(free, np.int64)
        taken |= set(free)
    return chosen


def choose_unlabelled(
    measured: pd.DataFrame, constant: np.ndarray, wanted: int, generator: np.random.Generator
) -> np.ndarray:
    """Choose test tiles: half at random, half the most uncertain."""
    uncertain = measured["uncertainty"].to_numpy().argsort(kind="stable")[::-1][: wanted // 2]
    others = np.setdiff1d(np.flatnonzero(~constant), uncertain)
    random = generator.permutation(others)[: wanted - len(uncertain)]
    return np.concatenate([np.sort(random), uncertain])


def choose_strip(run: Run, measured: pd.DataFrame) -> np.ndarray:
    """Choose labelled tiles from good to poor: evenly spaced in the ranking by IoU."""
    low, high = STRIP_COVERAGE
    shown = run.store.labelled["salt_fraction"].between(low, high).to_numpy()
    ranking = measured[shown].sort_values("iou", ascending=False, kind="stable").index.to_numpy()
    shares = (np.arange(STRIP_TILES) + 0.5) / STRIP_TILES
    return ranking[(shares * len(ranking)).astype(np.int64)] if len(ranking) else ranking


def draw_strip(run: Run, measured: pd.DataFrame) -> bytes | None:
    """Draw the tiles of `choose_strip` as one PNG; None if no tile has salt enough to show."""
    rows = [labelled_row(run, tile).panels for tile in choose_strip(run, measured)]
    return compose(rows) if rows else None


def strip_of_run(run: Run) -> bytes:
    """Return the README's strip as PNG.

    Raises:
        StoreError: no tile has salt enough to show.
    """
    picture = draw_strip(run, measure_labelled(run))
    if picture is None:
        raise StoreError(
            "no labelled tile has enough salt for the picture; expected some with "
            f"{STRIP_COVERAGE[0]:.0%} to {STRIP_COVERAGE[1]:.0%}. Run the pipeline on more tiles."
        )
    return picture


def main(arguments: list[str]) -> None:
    """Write the strip to the path given; see `write_picture`."""
    write_picture(arguments, "python -m salt.report.gallery docs/result.png", strip_of_run)


if __name__ == "__main__":
    with reported_errors():
        main(sys.argv[1:])

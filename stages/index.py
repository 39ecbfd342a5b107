"""Neighbours, sections and folds: reads ingest, writes data/index/."""

from pathlib import Path

from salt import tracking
from salt.errors import reported_errors
from salt.neighbours.index import index_tiles
from salt.params import load_params


def main() -> None:
    """Stitch the tiles and cut the folds."""
    params = load_params()
    with tracking.stage_run("index", params=params.model_dump()) as run:
        summary = index_tiles(
            Path("data/ingest"),
            Path("data/index"),
            folds=params.index.folds,
            scheme=params.index.scheme,
            stack=params.index.stack,
            seed=params.seed,
            neighbours=params.index.neighbours,
        )
        names = ("edges", "sections", "tiles_in_sections", "largest_section")
        run.metrics({name: summary[name] for name in names})
    print(
        f"index: {summary['tiles_in_sections']} of {summary['tiles']} tiles lie in "
        f"{summary['sections']} sections, {summary['edges']} edges"
    )


if __name__ == "__main__":
    with reported_errors():
        main()

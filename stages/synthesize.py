"""Training images of data/ingest/ to labelled synthetic tiles like them in data/synthesize/."""

from pathlib import Path

from salt.errors import reported_errors
from salt.params import load_params
from salt.store import open_store
from salt.synthesis.tiles import synthesize
from salt.tracking import stage_run


def main() -> None:
    """Match `synthesize.tiles` fresh tiles in amplitude to the labelled images."""
    params = load_params()
    store = open_store(Path("data/ingest"))
    with stage_run("synthesize", params.model_dump()):
        synthesize(
            store.images[: len(store.masks)],
            Path("data/synthesize"),
            tiles=params.synthesize.tiles,
            seed=params.seed,
        )


if __name__ == "__main__":
    with reported_errors():
        main()

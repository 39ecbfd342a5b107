"""Raw input (Kaggle's download, or a synthetic survey) to the tile store in data/ingest/."""

from pathlib import Path

from salt.errors import reported_errors
from salt.params import Params, load_params
from salt.sources.demo import write_survey
from salt.sources.ingest import ingest, keep_neighbours
from salt.tracking import stage_run

OUT = Path("data/ingest")


def main() -> None:
    """Write the store of the source that `data.source` names."""
    params = load_params()
    with stage_run("ingest", params.model_dump()):
        raw = Path(params.data.raw) if params.data.source == "tgs" else make_demo(params)
        ingest(raw, OUT, params.data.tile_format)
        keep_neighbours(Path(params.data.raw), OUT)


def make_demo(params: Params) -> Path:
    """Write the demo survey in Kaggle's layout, its test truth beside it; return its folder."""
    survey = OUT / "kaggle"
    write_survey(survey, OUT / "truth", seed=params.seed, **params.demo.model_dump())
    return survey


if __name__ == "__main__":
    with reported_errors():
        main()

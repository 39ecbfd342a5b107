"""Score and picture the finished run: all earlier stages' outputs to data/report/."""

from pathlib import Path

from salt.errors import reported_errors
from salt.params import load_params
from salt.report.build import build_report
from salt.tracking import stage_run

OUT = Path("data/report")


def main() -> None:
    """Write data/report: metrics.json, plots/*.csv, pictures/*.png and index.html."""
    params = load_params()
    with stage_run("report", params.model_dump()) as tracked:
        metrics = build_report(
            data=Path("data"),
            output=OUT,
            source=params.data.source,
            folds=params.index.folds,
            gallery_tiles=params.report.gallery_tiles,
            sections=params.report.sections,
            bootstrap_samples=params.report.bootstrap_samples,
            seed=params.seed,
        )
        tracked.metrics({"score": metrics["out_of_fold"]["score"]})
        tracked.artifact(OUT / "index.html")
        for picture in sorted((OUT / "pictures").glob("*.png")):
            tracked.picture(picture)
    print(f"report: out-of-fold score {metrics['out_of_fold']['score']:.3f}, see {OUT}/index.html")


if __name__ == "__main__":
    with reported_errors():
        main()

"""A fold of the tiny project, and the task of learning it."""

from pathlib import Path
from typing import Any

from tiny_project import tiny_params

from salt.augment import Augmentation, AugmentConfig
from salt.fit.fold import FoldData, read_fold
from salt.fit.segmentation import SegmentationTask
from salt.losses.compound import loss_config


def fold_of(project: Path, fold: int = 0, **changes: Any) -> FoldData:
    settings = {"stack_width": 3, "padding": "reflect", "input_size": 128}
    settings |= {"validation_share": 0.25, "seed": 1} | changes
    folders = (project / "data" / name for name in ("ingest", "index", "synthesize"))
    return read_fold(*folders, fold=fold, **settings)


def task_on(
    data: FoldData,
    loss: dict[str, Any] | None = None,
    augment: dict[str, float] | None = None,
    **changes: Any,
):
    params = tiny_params()
    settings = {"batch_size": 4, "synthetic_share": 0.0, "precision": "fp32"} | changes
    return SegmentationTask(
        "train@0",
        data,
        loss_config(params["loss"] | (loss or {})),
        Augmentation(AugmentConfig(**(params["augment"] | (augment or {})))),
        seed=1,
        workers=0,
        **settings,
    )

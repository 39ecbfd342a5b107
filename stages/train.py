"""Train one fold: reads ingest, index, synthesize and pretrain, writes data/train/FOLD/."""

import argparse
from pathlib import Path

from salt import tracking
from salt.augment import AugmentConfig
from salt.errors import reported_errors
from salt.fit.checkpoint import reserved, resume_folder
from salt.fit.devices import open_device
from salt.fit.fold import fold_inputs
from salt.fit.processes import launch
from salt.fit.segmentation import HEADS, fit_fold, open_task
from salt.fit.task import FitConfig
from salt.losses.compound import loss_config
from salt.models.segmenter import config_from
from salt.params import load_params
from salt.seeding import seed_everything

TILES = (Path("data/ingest"), Path("data/index"), Path("data/synthesize"))
PRETRAIN, OUT = Path("data/pretrain"), Path("data/train")


def main(fold: int) -> None:
    """Train on the other folds, resuming a killed run, and predict this one."""
    params = load_params()
    settings, model = params.train, config_from(params.model.model_dump())
    seed = seed_everything(params.seed, "train", fold)
    device = open_device(
        params.runtime.device, params.runtime.threads, params.runtime.deterministic
    )
    processes = launch(device, settings.devices, settings.nodes, settings.batch_size)
    task = open_task(
        f"train@{fold}",
        TILES,
        fold=fold,
        model=model,
        loss=loss_config(params.loss.model_dump()),
        augment=AugmentConfig(**params.augment.model_dump()),
        validation_share=settings.validation_share,
        split_seed=seed,
        batch_size=settings.batch_size,
        synthetic_share=settings.synthetic_share,
        precision=settings.precision,
        seed=seed,
        workers=params.runtime.workers,
        part=processes.part,
    )
    fit_config = FitConfig(**settings.model_dump(include=set(FitConfig.__dataclass_fields__)))
    decides = {name: getattr(params, name).model_dump() for name in ("model", "loss", "augment")}
    decides |= {"seed": params.seed, "train": settings.model_dump()}
    inputs = [*fold_inputs(*TILES), PRETRAIN / "weights.safetensors"]
    resume = resume_folder(f"train@{fold}", decides, inputs)
    with (
        reserved(resume, processes),
        tracking.stage_run("train", params.model_dump(), fold, processes.first) as run,
    ):
        fit_fold(
            task,
            model,
            fit_config,
            start=PRETRAIN,
            anew=HEADS,
            out=OUT / str(fold),
            resume=resume,
            report=run.metrics,
            processes=processes,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, required=True, help="the fold held out")
    with reported_errors():
        main(parser.parse_args().fold)

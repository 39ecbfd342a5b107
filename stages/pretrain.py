"""Masked pretraining: reads ingest and index, writes data/pretrain/."""

from pathlib import Path

from salt import tracking
from salt.augment import Augmentation, AugmentConfig
from salt.errors import reported_errors
from salt.fit.checkpoint import reserved, resume_folder
from salt.fit.devices import open_device
from salt.fit.pretraining import PretrainingTask, pretrain, read_images
from salt.fit.processes import launch
from salt.fit.task import FitConfig
from salt.models.segmenter import config_from
from salt.params import load_params
from salt.seeding import seed_everything

INGEST, INDEX, OUT = Path("data/ingest"), Path("data/index"), Path("data/pretrain")


def main() -> None:
    """Pretrain the network on every tile, resuming a killed run."""
    params = load_params()
    settings, model = params.pretrain, params.model
    seed = seed_everything(params.seed, "pretrain")
    device = open_device(
        params.runtime.device, params.runtime.threads, params.runtime.deterministic
    )
    processes = launch(device, params.train.devices, params.train.nodes, settings.batch_size)
    task = PretrainingTask(
        read_images(
            INGEST,
            INDEX,
            stack_width=model.stack_width,
            padding=model.padding,
            input_size=model.input_size,
            depth_input=model.depth_input,
        ),
        Augmentation(AugmentConfig(**params.augment.model_dump(exclude={"cutout"}))),  # no targets
        batch_size=settings.batch_size,
        mask_ratio=settings.mask_ratio,
        patch_size=settings.patch_size,
        seed=seed,
        workers=params.runtime.workers,
        part=processes.part,
    )
    fit_config = FitConfig(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        precision=params.train.precision,
        compile=params.train.compile,
    )
    decides = {
        name: getattr(params, name).model_dump() for name in ("pretrain", "model", "augment")
    }
    decides |= {"seed": params.seed, "precision": params.train.precision}
    decides |= {"compile": params.train.compile, "processes": processes.count}
    inputs = [INGEST / "images.npy", INGEST / "tiles.csv", INDEX / "neighbours.csv"]
    resume = resume_folder("pretrain", decides, inputs)
    with (
        reserved(resume, processes),
        tracking.stage_run("pretrain", params.model_dump(), tracked=processes.first) as run,
    ):
        pretrain(
            task,
            config_from(model.model_dump()),
            fit_config,
            out=OUT,
            resume=resume,
            report=run.metrics,
            processes=processes,
        )


if __name__ == "__main__":
    with reported_errors():
        main()

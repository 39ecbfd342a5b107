"""A network of the zoo goes through the learning stages like our own."""

from pathlib import Path

import pytest
from tiny_project import run_stage, write_params

from salt.files import read_array, read_csv, read_json

OPTIONS = {"coordinates": True, "features": ["gradient", "cumulative_amplitude"]}


@pytest.mark.parametrize(
    "model",
    [
        {"architecture": "residual_unet", "width": 4, "input_size": 101},
        {"architecture": "linknet", "encoder": "test_resnet", "decoder_channels": [8, 8, 8]},
        {"deep_supervision": True, "hypercolumn": True, "upsampling": "transposed", **OPTIONS},
    ],
    ids=["unpadded", "smp", "options"],
)
def test_a_network_is_pretrained_trained_and_measured(project: Path, model: dict) -> None:
    write_params(
        project,
        model=model,
        pretrain={"epochs": 1},
        train={"epochs": 1, "validation_share": 0.0, "early_stopping": 0, "synthetic_share": 0.0},
    )
    run_stage(project, "pretrain")
    for stage in ("train", "pseudo", "student", "uncertainty"):
        run_stage(project, stage, 0)
    config = read_json(project / "data/train/0/config.json")
    assert {key: config[key] for key in model} == model
    probability = read_array(project / "data/train/0/oof_probability.npy")
    assert probability.shape == (12, 101, 101)
    assert ((probability > 0) & (probability < 1)).all()
    assert read_csv(project / "data/train/0/oof_tiles.csv")["presence"].between(0, 1).all()
    assert read_array(project / "data/uncertainty/0/oof_mutual_information.npy").any()

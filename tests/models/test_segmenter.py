import json
from pathlib import Path

import pytest
import torch

from salt.errors import ModelError, StoreError
from salt.models.decoder import DropoutSite
from salt.models.registry import load_model
from salt.models.segmenter import CONFIG, WEIGHTS, config_from, save_model
from salt.models.weights import read_weights, save_weights
from salt.padding import crop, pad


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        ({}, 3),
        ({"stack_width": 1}, 1),
        ({"attention": "none"}, 3),
        ({"architecture": "unet"}, 3),
        ({"architecture": "unet", "encoder": "resnet18"}, 3),
        ({"encoder": "convnext_atto"}, 3),
        ({"encoder": "resnet18"}, 3),
        ({"upsampling": "transposed"}, 3),
        ({"skip_attention": "spatial"}, 3),
        ({"hypercolumn": True}, 3),
        ({"deep_supervision": True}, 3),
        ({"coordinates": True, "features": ["gradient"], "stack_width": 1}, 1),
    ],
)
def test_a_padded_batch_gives_logits_at_the_tiles_own_size(
    make_segmenter, changes: dict, channels: int
) -> None:
    model = make_segmenter(**changes)
    with torch.no_grad():
        output = model(pad(torch.randn(2, channels, 101, 101), 128))
    assert output.mask_logits.shape == (2, 1, 128, 128)
    assert crop(output.mask_logits, 101).shape == (2, 1, 101, 101)
    assert output.presence_logits.shape == (2, 1)
    assert output.mask_logits.dtype == output.presence_logits.dtype == torch.float32
    assert output.auxiliary == ()


def test_a_model_without_a_presence_head_says_none(make_segmenter) -> None:
    model = make_segmenter(presence_head=False)
    assert model(torch.randn(1, 3, 128, 128)).presence_logits is None
    assert not [key for key in model.state_dict() if "presence" in key]


def test_evaluation_is_deterministic_and_training_is_not(make_segmenter) -> None:
    model, images = make_segmenter(), torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(model(images).mask_logits, model(images).mask_logits)
        model.train()
        assert not torch.equal(model(images).mask_logits, model(images).mask_logits)


@pytest.mark.parametrize("sites", ["early", "late", "head"])
@pytest.mark.parametrize("presence_head", [True, False])
def test_what_is_settled_is_the_same_in_every_pass_and_the_rest_makes_up_the_model(
    make_segmenter, sites: str, presence_head: bool
) -> None:
    model = make_segmenter(dropout_sites=sites, presence_head=presence_head)
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        plain = model(images).mask_logits
        for site in (m for m in model.modules() if isinstance(m, DropoutSite)):
            site.train()
        first, second = model.settle(images), model.settle(images)
        assert torch.equal(first.levels[-1], second.levels[-1])
        assert not torch.equal(model.finish(first).mask_logits, model.finish(first).mask_logits)
        torch.testing.assert_close(model.eval().finish(first).mask_logits, plain)


@pytest.mark.parametrize("sites", ["early", "late", "head"])
def test_repeating_what_is_settled_repeats_the_answer(make_segmenter, sites: str) -> None:
    model = make_segmenter(dropout_sites=sites)
    with torch.no_grad():
        settled = model.settle(torch.randn(2, 3, 128, 128))
        once, thrice = model.finish(settled), model.finish(model.repeat(settled, 3))
    torch.testing.assert_close(thrice.mask_logits, once.mask_logits.repeat(3, 1, 1, 1))
    torch.testing.assert_close(thrice.presence_logits, once.presence_logits.repeat(3, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "upsampling": "transposed",
            "skip_attention": "spatial",
            "hypercolumn": True,
            "deep_supervision": True,
            "coordinates": True,
            "features": ["gradient", "cumulative_amplitude"],
        },
    ],
)
def test_every_parameter_gets_a_gradient(make_segmenter, changes: dict) -> None:
    model = make_segmenter(**changes).train()
    output = model(torch.randn(2, 3, 128, 128))
    assert all(logits.shape == output.mask_logits.shape for logits in output.auxiliary)
    auxiliary = sum(logits.sum() for logits in output.auxiliary)
    (output.mask_logits.sum() + output.presence_logits.sum() + auxiliary).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("encoder", "own"), [("swinv2", [0, 0, 16, 32, 64]), ("resnet18", [0, 64, 64, 128, 256])]
)
def test_a_hybrid_sets_convolutions_beside_the_encoder_at_every_resolution(
    make_segmenter, encoder: str, own: list[int]
) -> None:
    with torch.no_grad():
        features = make_segmenter(encoder=encoder).encode(torch.randn(2, 3, 128, 128))
    convolutions = [16, 32, 64, 128, 256]
    expected = [
        (2, beside + channels, 128 // 2**level, 128 // 2**level)
        for level, (beside, channels) in enumerate(zip(convolutions, own, strict=True))
    ]
    assert [tuple(feature.shape) for feature in features] == expected


def test_deep_supervision_adds_full_size_logits_of_coarser_levels_in_training(
    make_segmenter,
) -> None:
    output = make_segmenter(deep_supervision=True).train()(torch.randn(2, 3, 128, 128))
    assert [logits.shape for logits in output.auxiliary] == [(2, 1, 128, 128)] * 3


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        ({}, set()),
        ({"upsampling": "transposed"}, {"decoder.blocks.up"}),
        ({"skip_attention": "spatial"}, {"decoder.blocks.gate"}),
        ({"hypercolumn": True}, {"hypercolumn"}),
        ({"deep_supervision": True}, {"auxiliary_heads"}),
        ({"coordinates": True}, set()),
    ],
)
def test_an_option_adds_its_own_weights_and_renames_none(
    make_segmenter, changes: dict, added: set
) -> None:
    plain, changed = make_segmenter().state_dict(), make_segmenter(**changes).state_dict()
    assert plain.keys() <= changed.keys()
    assert {part_of(key) for key in changed.keys() - plain.keys()} == added


def part_of(key: str) -> str:
    parts = key.split(".")
    return ".".join([*parts[:2], parts[3]]) if parts[0] == "decoder" else parts[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"presence_head": False},
        {"stack_width": 1},
        {"hypercolumn": True, "skip_attention": "spatial", "features": ["gradient"]},
    ],
)
def test_a_saved_model_comes_back_with_the_same_outputs_to_the_bit(
    make_segmenter, tmp_path: Path, changes: dict
) -> None:
    model = make_segmenter(**changes).train()
    images = torch.randn(2, model.config.stack_width, 128, 128)
    model(images)  # moves the batch statistics away from their start
    save_model(model.state_dict(), model.config, tmp_path)
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert loaded.config == model.config
    with torch.no_grad():
        before, after = model.eval()(images), loaded(images)
    assert torch.equal(before.mask_logits, after.mask_logits)
    if model.config.presence_head:
        assert torch.equal(before.presence_logits, after.presence_logits)


def test_a_saved_model_is_rebuilt_without_the_weights_it_started_from(
    make_segmenter, tmp_path: Path
) -> None:
    model = make_segmenter()
    save_model(model.state_dict(), model.config, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | {"encoder_weights": "gone.safetensors"}))
    load_model(tmp_path)


def test_a_folder_without_a_model_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"config.json: no such file"):
        load_model(tmp_path)


def test_weights_of_other_settings_are_refused(make_segmenter, tmp_path: Path) -> None:
    model = make_segmenter()
    save_model(model.state_dict(), model.config, tmp_path)
    weights = read_weights(tmp_path / WEIGHTS)
    save_weights({k: t for k, t in weights.items() if k != "mask_head.bias"}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"missing \['mask_head.bias'\], unexpected \[\]"):
        load_model(tmp_path)


def test_lists_of_the_parameters_become_tuples() -> None:
    settings = {
        "architecture": "unet",
        "encoder": "resnet18",
        "encoder_width": 1,
        "encoder_depths": [1, 2],
        "encoder_weights": "none",
        "decoder_channels": [8, 4],
        "decoder_dropout": 0.1,
        "dropout_sites": "late",
        "attention": "none",
        "presence_head": True,
        "input_size": 128,
        "stack_width": 1,
    }
    config = config_from(settings)
    assert (config.encoder_depths, config.decoder_channels) == ((1, 2), (8, 4))
    assert hash(config)

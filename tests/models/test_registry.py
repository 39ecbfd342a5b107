import importlib.util
import sys
import typing
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_project import PROJECT
from zoo_configs import smallest

from salt.errors import ModelError, TrainingError
from salt.fit.optimiser import freeze_encoder, parameter_groups
from salt.infer.uncertainty import sample_passes
from salt.models.decoder import DropoutSite
from salt.models.registry import ARCHITECTURES, OPTION_DEFAULTS, SITES, build_model, load_model
from salt.models.segmenter import Network, save_model
from salt.padding import crop
from salt.params import load_params
from salt.settings import Model

MONAI = pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="needs MONAI")
NAMES = [
    pytest.param(name, marks=MONAI if entry.source == "MONAI" else ())
    for name, entry in ARCHITECTURES.items()
]


def build(name: str, **changes) -> Network:
    torch.manual_seed(0)
    return build_model(smallest(name, **changes))


def tiles(model: Network, count: int = 2) -> torch.Tensor:
    size = model.config.input_size
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, model.config.stack_width, size, size, generator=draw)


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_teach_every_parameter_and_the_saved_model_comes_back_to_the_bit(
    name: str, tmp_path: Path
) -> None:
    model = build(name).train()
    images, size = tiles(model), model.config.input_size
    masks = (images[:, 1:2] > 0).float()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(3):
        output = model(images)
        assert output.mask_logits.shape == (2, 1, size, size)
        assert output.presence_logits is not None and output.presence_logits.shape == (2, 1)
        assert output.auxiliary == ()
        loss = F.binary_cross_entropy_with_logits(output.mask_logits, masks)
        presence = masks.amax((2, 3))  # [B, 1]
        loss = loss + F.binary_cross_entropy_with_logits(output.presence_logits, presence)
        optimiser.zero_grad()
        loss.backward()
        assert torch.isfinite(loss)
        assert [key for key, p in model.named_parameters() if p.grad is None] == []
        optimiser.step()

    save_model(model.state_dict(), model.config, tmp_path)
    loaded = load_model(tmp_path)
    assert not loaded.training and loaded.config == model.config
    with torch.no_grad():
        before, after = model.eval()(images), loaded(images)
    assert torch.equal(before.mask_logits, after.mask_logits)
    assert torch.equal(before.presence_logits, after.presence_logits)


@pytest.mark.parametrize("name", NAMES)
def test_passes_of_dropout_differ_and_a_single_pass_is_the_plain_answer(name: str) -> None:
    model = build(name, decoder_dropout=0.5).eval()
    images = tiles(model)
    with torch.no_grad():
        torch.manual_seed(2)
        several, _ = sample_passes(model, images, 3, 101)
        single, _ = sample_passes(model, images, 1, 101)
        plain = torch.sigmoid(crop(model(images).mask_logits, 101))[:, 0]
    assert several.shape == (3, 2, 101, 101)
    assert not torch.equal(several[0], several[1])
    assert torch.equal(single[0], plain)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_in_half_precision_is_finite(name: str) -> None:
    model = build(name).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(tiles(model))
    output.mask_logits.float().square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", [name for name, e in ARCHITECTURES.items() if e.encoder])
def test_every_encoder_can_be_slowed_and_frozen(name: str) -> None:
    model = build(name).train()
    prefix = "encoder." if name in ("hybrid", "unet") else "body.encoder."
    encoder = [p for key, p in model.named_parameters() if key.startswith(prefix)]
    groups = parameter_groups(model, weight_decay=0.3, encoder_rate=0.1)
    slowed = [p for group in groups if group["rate_factor"] == 0.1 for p in group["params"]]
    assert {id(p) for p in slowed} == {id(p) for p in encoder} != set()
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))

    freeze_encoder(model, frozen=True)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model(tiles(model)).mask_logits.sum().backward()
    assert model.mask_head.weight.grad is not None and all(p.grad is None for p in encoder)
    after = model.state_dict()
    assert all(torch.equal(after[key], t) for key, t in before.items() if key.startswith(prefix))


@pytest.mark.parametrize("name", ["residual_unet", pytest.param("swin_unetr", marks=MONAI)])
def test_a_network_without_a_timm_encoder_has_none_to_freeze(name: str) -> None:
    with pytest.raises(TrainingError, match="ZooNetwork has no encoder of its own"):
        freeze_encoder(build(name), frozen=True)


def test_the_parameters_offer_exactly_the_registered_architectures() -> None:
    offered = typing.get_args(Model.model_fields["architecture"].annotation)
    assert list(offered) == list(ARCHITECTURES)


def test_the_committed_parameters_switch_every_option_off() -> None:
    settings = load_params(PROJECT / "params.yaml").model.model_dump()
    committed = {key: settings[key] for key in OPTION_DEFAULTS if key != SITES}
    expected = {key: value for key, value in OPTION_DEFAULTS.items() if key != SITES}
    assert committed | {"features": tuple(committed["features"])} == expected


@pytest.mark.parametrize("name", ["plain_unet", "unetplusplus", "fcn"])
@pytest.mark.parametrize(
    "changes",
    [
        {"stack_width": 1},
        {"presence_head": False},
        {"input_size": 128},
        {"coordinates": True, "features": ["gradient", "cumulative_amplitude"]},
    ],
)
def test_settings_that_all_share_work_in_each_kind_of_network(name: str, changes: dict) -> None:
    model = build(name, **changes).eval()
    with torch.no_grad():
        output = model(tiles(model))
    size = model.config.input_size
    assert output.mask_logits.shape == (2, 1, size, size)
    assert (output.presence_logits is not None) == model.config.presence_head


@pytest.mark.parametrize("name", ["residual_unet", "segnet"])
def test_unpadded_networks_work_on_the_tile_itself(name: str) -> None:
    model = build(name).eval()
    assert model.padded == 101


def test_other_networks_pad_inside_and_crop_what_they_added() -> None:
    model = build("linknet").eval()
    assert model.padded == 104
    images = tiles(model)
    with torch.no_grad():
        wide = build("linknet", input_size=104).eval()
        wide.load_state_dict(model.state_dict())
        padded = F.pad(images, (1, 2, 1, 2), mode="reflect")
        expected = wide(padded).mask_logits[..., 1:102, 1:102]
        torch.testing.assert_close(model(images).mask_logits, expected)


@pytest.mark.parametrize(
    ("presence_head", "expected"),
    [(True, ["dropout", "presence_head.dropout"]), (False, ["dropout"])],
)
def test_each_network_has_a_dropout_site_before_each_head_alone(
    presence_head: bool, expected: list[str]
) -> None:
    modules = build("segnet", presence_head=presence_head).named_modules()
    assert [key for key, m in modules if isinstance(m, DropoutSite)] == expected


@pytest.mark.parametrize("name", NAMES[2:])  # all but our own decoder
def test_bodies_without_dropout_are_those_that_the_page_of_networks_names(name: str) -> None:
    page = (PROJECT / "docs" / "models.md").read_text()
    named = page.partition("drop at that rate within")[2].partition("do not")[0]
    body = build(name, decoder_dropout=0.37).body
    drops = any(getattr(module, "p", None) == 0.37 for module in body.modules())
    assert drops != (f"`{name}`" in named)


@pytest.mark.parametrize("name", NAMES)
def test_each_decoder_reads_as_many_channels_as_the_page_of_networks_says(name: str) -> None:
    every, first_two = ("hybrid", "unet", "unetplusplus", "manet"), ("fpn",)
    first = ("deeplabv3plus", "pspnet", "upernet", "segformer")
    given = smallest(name).decoder_channels
    read = len(given) if name in every else 2 * (name in first_two) + (name in first)

    def shapes(channels: Sequence[int]) -> dict[str, torch.Size]:
        state = build(name, decoder_channels=tuple(channels)).state_dict()
        return {key: tensor.shape for key, tensor in state.items()}

    for level, width in enumerate(given):
        changed = [*given[:level], 2 * width, *given[level + 1 :]]
        assert (shapes(changed) != shapes(given)) == (level < read)
    if len(given) == 3:
        assert (shapes([*given, given[-1]]) != shapes(given)) == (name != "swin_unetr")


def test_an_unknown_architecture_lists_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"'vnet', expected one of hybrid, unet, plain_unet"):
        build_model(replace(smallest("segnet"), architecture="vnet"))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("segnet", "hypercolumn", True),
        ("residual_unet", "upsampling", "transposed"),
        ("unetplusplus", "deep_supervision", True),
        ("fcn", "upsampling", "transposed"),
        ("unet", "width", 32),
        ("attention_unet", "normalisation", "group"),
    ],
)
def test_an_option_that_an_architecture_lacks_is_refused(name: str, option: str, value) -> None:
    with pytest.raises(ModelError, match=rf"model.{option} is .*{name} does not have this option"):
        build(name, **{option: value})


@pytest.mark.parametrize("name", NAMES)
def test_attention_that_a_network_has_no_place_for_is_said_once_at_the_build(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with_it, without = build(name, attention="scse"), build(name, attention="none")
    said = f"attention: {name} has no place for scse; left out\n"
    used = with_it.state_dict().keys() != without.state_dict().keys()
    assert used == (name in ("hybrid", "unet", "psp_unet", "unetplusplus"))
    assert capsys.readouterr().out == ("" if used else said)
    save_model(with_it.state_dict(), with_it.config, tmp_path)
    load_model(tmp_path)
    assert capsys.readouterr().out == ""


def test_encoder_weights_without_an_encoder_are_refused() -> None:
    with pytest.raises(ModelError, match="segnet has no encoder to load them into"):
        build("segnet", encoder_weights="imagenet")


def test_a_body_that_cannot_take_the_size_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="segnet cannot take 101 pixels") as caught:
        build("segnet", decoder_channels=[8] * 7)
    assert "\n" not in str(caught.value)


def test_a_tile_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="tiles of 128 pixels, expected 101"):
        build("segnet")(torch.zeros(1, 3, 128, 128))


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path) -> None:
    save_model(build("segnet").state_dict(), smallest("residual_unet"), tmp_path)
    message = r"missing \['body.down.0.1.weight'.*unexpected \[.*'body.down.0.0.0.weight'"
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("fpn", {"decoder_channels": [16] * 4}, "must be divisible by num_groups"),
        ("linknet", {"decoder_channels": [16] * 6}, r"depth should be in range \[1, 5\]"),
    ],
)
def test_settings_that_a_library_refuses_end_in_one_line(
    name: str, changes: dict, problem: str
) -> None:
    with pytest.raises(ModelError, match=rf"{name} could not be built \(.*{problem}") as caught:
        build(name, **changes)
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint_is_named_by_a_zoo_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone.safetensors: no such weights"):
        build("linknet", encoder_weights=str(tmp_path / "gone.safetensors"))


def test_an_unknown_encoder_is_named_by_a_zoo_network() -> None:
    with pytest.raises(ModelError, match="'resnet1', expected swinv2 or a timm model"):
        build("linknet", encoder="resnet1")


def test_a_transformer_encoder_serves_a_zoo_decoder() -> None:
    model = build("upernet", encoder="swinv2", decoder_channels=[16] * 4).eval()
    with torch.no_grad():
        assert model(tiles(model)).mask_logits.shape == (2, 1, 101, 101)


def test_without_monai_its_networks_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("monai", "monai.networks"):
        monkeypatch.setitem(sys.modules, module, None)  # what import finds where there is none
    with pytest.raises(ModelError, match=r"dynunet needs MONAI, which is not installed") as caught:
        build("dynunet")
    assert "\n" not in str(caught.value)


def test_a_plain_unet_gives_logits_of_its_coarser_levels_in_training_alone() -> None:
    model = build("plain_unet", deep_supervision=True).train()
    output = model(tiles(model))
    assert [logits.shape for logits in output.auxiliary] == [(2, 1, 101, 101)] * 2
    (output.mask_logits.sum() + sum(logits.sum() for logits in output.auxiliary)).backward()
    heads = [key for key, p in model.named_parameters() if p.grad is None]
    assert heads == ["presence_head.weight", "presence_head.bias"]
    with torch.no_grad():
        assert model.eval()(tiles(model)).auxiliary == ()


@MONAI
def test_dynunet_gives_logits_of_its_coarser_levels_in_training_alone() -> None:
    model = build("dynunet", deep_supervision=True).train()
    output = model(tiles(model))
    assert [logits.shape for logits in output.auxiliary] == [(2, 1, 101, 101)] * 2
    (output.mask_logits.sum() + sum(logits.sum() for logits in output.auxiliary)).backward()
    with torch.no_grad():
        assert model.eval()(tiles(model)).auxiliary == ()


@MONAI
def test_dynunet_lets_go_of_a_steps_logits_so_that_it_can_be_copied() -> None:
    model = build("dynunet", deep_supervision=True, decoder_dropout=0.0).train()
    images = tiles(model)
    model(images)
    copied = deepcopy(model)  # which torch refuses for a tensor with a graph
    first, second = (network(images).auxiliary for network in (model, copied))
    assert len(first) == 2 and all(map(torch.equal, first, second))


@MONAI
def test_swin_unetr_names_the_widths_it_takes() -> None:
    with pytest.raises(ModelError, match=r"model.width is 8, expected a multiple of 12"):
        build("swin_unetr", width=8)

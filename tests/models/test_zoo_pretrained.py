"""Pretrained weights in the encoders of the zoo: they arrive whole, or are refused."""

from pathlib import Path

import pytest
import timm
import torch
from zoo_configs import smallest

from salt.errors import ModelError
from salt.models.registry import build_model
from salt.models.segmenter import Network
from salt.models.weights import save_weights


def build(name: str, **changes) -> Network:
    torch.manual_seed(0)
    return build_model(smallest(name, **changes))


def tiles(model: Network, count: int = 2) -> torch.Tensor:
    size = model.config.input_size
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, model.config.stack_width, size, size, generator=draw)


@pytest.mark.parametrize("name", ["unetplusplus", "fcn"])
def test_a_local_checkpoint_arrives_in_a_zoo_encoder_with_its_stem_adapted(
    name: str, tmp_path: Path
) -> None:
    whole = timm.create_model("test_resnet").state_dict()
    path = tmp_path / "encoder.safetensors"
    save_weights(whole, path)
    model = build(name, encoder_weights=str(path), stack_width=1)
    loaded = getattr(model.body.encoder, "model", None) or model.body.encoder.backbone
    own = loaded.state_dict()
    stem = next(key for key in own if key.endswith("conv1.0.weight") or key == "conv1.weight")
    torch.testing.assert_close(own[stem], whole[stem].sum(1, keepdim=True))
    others = own.keys() - {stem}
    assert others and all(torch.equal(own[key], whole[key]) for key in others)


@pytest.mark.parametrize("name", ["unetplusplus", "fcn"])
@pytest.mark.parametrize(("lost", "added"), [("layer1.0.conv1.weight", None), (None, "extra")])
def test_a_checkpoint_that_is_not_the_encoders_is_refused_by_every_zoo_network(
    name: str, lost: str | None, added: str | None, tmp_path: Path
) -> None:
    weights = timm.create_model("test_resnet").state_dict()
    if lost:
        del weights[lost]
    if added:
        weights[added] = torch.zeros(1)
    path = tmp_path / "encoder.safetensors"
    save_weights(weights, path)
    with pytest.raises(ModelError, match=str(lost or added).replace(".", r"\.")):
        build(name, encoder_weights=str(path))


@pytest.mark.parametrize("name", ["linknet", "fcn"])
def test_imagenet_weights_of_every_zoo_network_are_reported_and_checked(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    download = "timm.models._builder.load_state_dict_from_hf"
    whole = timm.create_model("test_resnet").state_dict()
    monkeypatch.setattr(download, lambda *_, **__: dict(whole))
    own = build(name, encoder_weights="imagenet", attention="none").image_encoder.state_dict()
    loaded = {key.removeprefix("model.").removeprefix("backbone."): t for key, t in own.items()}
    assert all(torch.equal(tensor, whole[key]) for key, tensor in loaded.items())
    said = f"encoder test_resnet: {len(loaded)} of {len(whole)} tensors of imagenet\n"
    assert capsys.readouterr().out == said
    monkeypatch.setattr(download, lambda *_, **__: {"fc.bias": whole["fc.bias"]})
    with pytest.raises(ModelError, match=r"timm gave no weights for test_resnet .*Missing key"):
        build(name, encoder_weights="imagenet")


def test_pretrained_weights_look_at_appended_channels_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_weights(timm.create_model("test_resnet").state_dict(), path)
    plain, appended = (
        build("linknet", encoder_weights=str(path), **changes).body.encoder.model
        for changes in ({}, {"coordinates": True, "features": ["gradient"]})
    )
    images, more = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = plain.eval()(images)
        found = appended.eval()(torch.cat([images, more], dim=1))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from salt.errors import ModelError
from salt.models.encoder import Encoder, build_encoder
from salt.models.pretrained import on_grid

SMALL: dict[str, Any] = {
    "input_size": 128,
    "in_channels": 3,
    "depth": 4,
    "width": 16,
    "depths": (1, 1, 1),
}
TINY_SWIN = {  # what `swinv2` with the settings above is in timm's terms
    "img_size": 128,
    "embed_dim": 16,
    "depths": (1, 1, 1),
    "num_heads": (1, 2, 4),
    "window_size": 8,
}


def slow(name: str, stem: str) -> Any:
    return pytest.param(name, name, {}, stem, marks=pytest.mark.slow)


def build(name: str, **changes: Any) -> Encoder:
    return build_encoder(name, **(SMALL | changes)).eval()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, torch.Tensor]]]:
    """A timm model's own random weights as a file, and the same in memory."""

    def save(name: str, **options: Any) -> tuple[Path, dict[str, torch.Tensor]]:
        weights = timm.create_model(name, **options).state_dict()
        path = tmp_path / f"{name}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path)
        return path, weights

    return save


@pytest.mark.parametrize(
    ("name", "depth", "channels", "reductions"),
    [
        ("swinv2", 4, [16, 32, 64], [4, 8, 16]),
        ("resnet18", 4, [64, 64, 128, 256], [2, 4, 8, 16]),
        ("resnet18", 5, [64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
        ("convnext_atto", 4, [40, 80, 160], [4, 8, 16]),
        ("mobilenetv3_small_100", 3, [16, 16, 24], [2, 4, 8]),
    ],
)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_features_are_channels_first_with_the_sizes_promised(
    name: str, depth: int, channels: list[int], reductions: list[int], in_channels: int
) -> None:
    encoder = build(name, depth=depth, in_channels=in_channels)
    assert (encoder.channels, encoder.reductions) == (channels, reductions)
    with torch.no_grad():
        features = encoder(torch.randn(2, in_channels, 128, 128))
    expected = [(2, c, 128 // r, 128 // r) for c, r in zip(channels, reductions, strict=True)]
    assert [tuple(feature.shape) for feature in features] == expected


@pytest.mark.parametrize(
    ("name", "depth", "input_size", "reductions"),
    [
        ("swinv2", 4, 112, [4, 8, 16]),
        ("test_convnext", 4, 112, [4, 8, 16]),
        ("test_resnet", 5, 128, [2, 4, 8, 16, 32]),
        ("test_efficientnet", 4, 112, [2, 4, 8, 16]),
        ("test_maxvit", 4, 128, [2, 4, 8, 16]),
        ("hrnet_w18_small", 4, 128, [2, 4, 8, 16]),
        pytest.param("swin_tiny_patch4_window7_224", 4, 112, [4, 8, 16], marks=pytest.mark.slow),
        pytest.param("vgg16_bn", 4, 112, [1, 2, 4, 8, 16], marks=pytest.mark.slow),
        pytest.param("vgg19", 4, 112, [1, 2, 4, 8, 16], marks=pytest.mark.slow),
        pytest.param("xception41", 4, 112, [2, 4, 8, 16], marks=pytest.mark.slow),
        pytest.param("hiera_tiny_224", 4, 128, [4, 8, 16], marks=pytest.mark.slow),
        pytest.param("sam2_hiera_tiny", 4, 128, [4, 8, 16], marks=pytest.mark.slow),
    ],
)
def test_every_family_of_encoders_serves_both_decoders(
    make_segmenter, name: str, depth: int, input_size: int, reductions: list[int]
) -> None:
    channels = [16] * depth
    for architecture in ("unet", "hybrid"):
        model = make_segmenter(
            architecture=architecture,
            encoder=name,
            decoder_channels=channels,
            encoder_depths=[1] * (depth - 1),
            input_size=input_size,
        )
        assert model.encoder.reductions == reductions
        with torch.no_grad():
            output = model(torch.randn(1, 3, input_size, input_size))
        assert output.mask_logits.shape == (1, 1, input_size, input_size)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "test_maxvit",
            r"must be divisible by window \(3\)",
        ),  # windows are set for reductions of 32
        ("hrnet_w18_small", "must match the size"),  # its branches need a multiple of 32
    ],
)
def test_a_size_that_an_encoder_cannot_take_is_refused_with_one_that_suits_most(
    name: str, problem: str
) -> None:
    with pytest.raises(ModelError, match=rf"cannot take 112 pixels.*{problem}.*input_size to 128"):
        build(name, input_size=112)


@pytest.mark.slow
def test_the_unpadded_convolutions_of_the_first_xception_are_refused() -> None:
    with pytest.raises(ModelError, match=r"gives features \[\(1, 64, 61, 61\).*another encoder"):
        build("legacy_xception")


def test_a_timm_transformer_made_for_another_size_is_built_for_ours() -> None:
    assert build("swin_tiny_patch4_window7_224").reductions == [4, 8, 16]


@pytest.mark.parametrize(
    ("width", "heads"), [(16, [1, 2, 4]), (48, [3, 6, 12]), (96, [3, 6, 12]), (128, [4, 8, 16])]
)
def test_swin_has_heads_of_16_channels_and_from_timms_own_widths_on_timms_of_32(
    width: int, heads: list[int]
) -> None:
    scales = {
        key: tensor.numel()
        for key, tensor in build("swinv2", width=width).backbone.state_dict().items()
        if key.endswith("logit_scale")
    }
    assert list(scales.values()) == heads


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize(
    ("encoder", "name", "options", "stem"),
    [
        ("resnet18", "resnet18", {}, "conv1.weight"),
        ("convnext_atto", "convnext_atto", {}, "stem.0.weight"),
        ("mobilenetv3_small_100", "mobilenetv3_small_100", {}, "conv_stem.weight"),
        ("test_efficientnet", "test_efficientnet", {}, "conv_stem.weight"),
        ("test_maxvit", "test_maxvit", {"img_size": 128}, "stem.conv1.weight"),
        ("swinv2", "swinv2_tiny_window8_256", TINY_SWIN, "patch_embed.proj.weight"),
        slow("swin_tiny_patch4_window7_224", "patch_embed.proj.weight"),
        slow("hrnet_w18_small", "conv1.weight"),
        slow("vgg16_bn", "features.0.weight"),
        slow("xception41", "stem.0.conv.weight"),
        slow("sam2_hiera_tiny", "patch_embed.proj.weight"),
    ],
)
def test_a_timm_checkpoint_arrives_in_the_encoder_whole(
    checkpoint, encoder: str, name: str, options: dict, stem: str, in_channels: int
) -> None:
    path, weights = checkpoint(name, **options)
    if in_channels == 1:  # a grey tile stands for three equal channels
        weights[stem] = weights[stem].sum(1, keepdim=True)
    by_plain_name = {key.replace("_", "."): tensor for key, tensor in weights.items()}
    loaded = build(encoder, weights=str(path), in_channels=in_channels).backbone.state_dict()
    assert loaded
    for key, tensor in loaded.items():
        plain_name = key.removeprefix("model.").replace("_", ".")
        torch.testing.assert_close(tensor, by_plain_name[plain_name], msg=key)


def test_a_checkpoint_without_its_classifier_is_as_good_and_what_matched_is_said(
    checkpoint, capsys
) -> None:
    path, weights = checkpoint("resnet18", num_classes=0)
    encoder = build("resnet18", weights=str(path))
    assert torch.equal(encoder.backbone.conv1.weight, weights["conv1.weight"])
    matched = len([key for key in weights if not key.startswith("layer4")])  # reduced 32 times
    said = f"encoder resnet18: {matched} of {len(weights)} tensors of {path}\n"
    assert capsys.readouterr().out == said


@pytest.mark.slow
def test_swinv2_as_wide_and_deep_as_timms_takes_its_checkpoint(checkpoint) -> None:
    path, weights = checkpoint("swinv2_tiny_window8_256")
    encoder = build("swinv2", weights=str(path), depth=5, width=96, depths=(2, 2, 6, 2))
    for key, tensor in encoder.backbone.state_dict().items():
        torch.testing.assert_close(tensor, weights[key.replace("layers_", "layers.")], msg=key)


@pytest.mark.slow
def test_the_places_of_hiera_are_interpolated_and_all_else_arrives_as_it_is(checkpoint) -> None:
    path, weights = checkpoint("hiera_tiny_224")
    loaded = build("hiera_tiny_224", weights=str(path)).backbone.state_dict()
    assert torch.equal(loaded.pop("model.pos_embed"), on_grid(weights["pos_embed"], 32 * 32))
    for key, tensor in loaded.items():
        torch.testing.assert_close(tensor, weights[key.removeprefix("model.")], msg=key)


def test_places_are_interpolated_on_their_square_grid() -> None:
    ramp = torch.arange(8.0)[None, :].expand(8, 8)  # grows to the right
    places = torch.stack([ramp, ramp.T], dim=-1).reshape(1, 64, 2)
    halved = on_grid(places, 16).view(4, 4, 2)
    across, down = halved[..., 0], halved[..., 1]
    torch.testing.assert_close(across, down.T)
    assert (across.diff(dim=1) > 1).all() and across.diff(dim=0).abs().max() < 1e-5
    torch.testing.assert_close(across.mean(), ramp.mean())
    assert torch.equal(on_grid(places, 64), places)
    assert on_grid(places, 65) is places  # as of a model that adds a token of its own


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What timm downloads, whatever the model: to be filled with tensors."""
    tensors: dict[str, torch.Tensor] = {}
    download = "timm.models._builder.load_state_dict_from_hf"
    monkeypatch.setattr(download, lambda *_, **__: dict(tensors))
    return tensors


@pytest.mark.parametrize("in_channels", [1, 3])
def test_imagenet_weights_arrive_like_those_of_a_file_and_are_reported_alike(
    hub: dict, capsys: pytest.CaptureFixture, in_channels: int
) -> None:
    hub |= timm.create_model("test_resnet").state_dict()
    backbone = build("test_resnet", weights="imagenet", in_channels=in_channels).backbone
    own = backbone.state_dict()
    stem = hub["conv1.0.weight"]
    torch.testing.assert_close(
        own.pop("conv1.0.weight"), stem if in_channels == 3 else stem.sum(1, keepdim=True)
    )
    assert own and all(torch.equal(tensor, hub[key]) for key, tensor in own.items())
    said = f"encoder test_resnet: {len(own) + 1} of {len(hub)} tensors of imagenet\n"
    assert capsys.readouterr().out == said
    assert "state_dict" not in backbone.pretrained_cfg  # no second copy of the weights


def test_a_download_that_is_not_the_model_is_refused(hub: dict) -> None:
    hub |= timm.create_model("test_resnet").state_dict()
    del hub["layer1.0.conv1.weight"]
    with pytest.raises(
        ModelError, match=r"no weights for test_resnet .*layer1\.0\.conv1"
    ) as caught:
        build("test_resnet", weights="imagenet")
    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Failed to resolve\n'huggingface.co'")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    message = r"gave no weights for test_resnet \(Failed to resolve 'huggingface.co'\).*Connect"
    with pytest.raises(ModelError, match=message) as caught:
        build("test_resnet", weights="imagenet")
    assert "\n" not in str(caught.value)


def test_a_model_without_any_published_weights_says_so() -> None:
    message = r"gave no weights for convnext_atto_rms \(No pretrained weights exist"
    with pytest.raises(ModelError, match=message):
        build("convnext_atto_rms", weights="imagenet")


def test_a_checkpoint_of_a_smaller_model_names_what_is_missing(checkpoint) -> None:
    path, _ = checkpoint("resnet18")
    with pytest.raises(ModelError, match=r"missing \['layer1\.2\.conv1\.weight'.*unexpected \[\]"):
        build("resnet34", weights=str(path))


def test_a_checkpoint_of_a_larger_model_names_what_is_left_over(checkpoint) -> None:
    path, _ = checkpoint("resnet34")
    with pytest.raises(ModelError, match=r"missing \[\], unexpected .*'layer1\.2\.conv1\.weight'"):
        build("resnet18", weights=str(path))


def test_a_checkpoint_with_other_shapes_is_refused(checkpoint) -> None:
    path, _ = checkpoint("swinv2_tiny_window8_256", **(TINY_SWIN | {"embed_dim": 32}))
    with pytest.raises(ModelError, match="size mismatch"):
        build("swinv2", weights=str(path))


@pytest.mark.parametrize("name", ["absent.safetensors", "weights.pt"])
def test_weights_that_are_no_safetensors_file_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{name}: no such weights; expected a .safetensors file"):
        build("resnet18", weights=str(tmp_path / name))


def test_an_input_size_that_does_not_divide_names_one_that_does() -> None:
    with pytest.raises(ModelError, match=r"input_size is 120, expected a multiple of 16.*Use 128"):
        build("resnet18", input_size=120)


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ModelError, match="'resnet1', expected swinv2 or a timm model"):
        build("resnet1")


def test_a_depth_without_features_lists_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"reduced \[4, 8, 16, 32\] times, expected one reduced 2"):
        build("convnext_atto", depth=1)


def test_swin_stages_must_fit_the_levels() -> None:
    with pytest.raises(ModelError, match=r"encoder_depths has 2 stages and .* 4 levels"):
        build("swinv2", depths=(1, 1))


def test_an_encoder_that_breaks_its_promise_is_refused() -> None:
    class Halved(torch.nn.Module):
        feature_info = build("resnet18", depth=1).backbone.feature_info

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [torch.zeros(len(images), 64, 32, 32)]

    with pytest.raises(ModelError, match=r"gives features \[\(1, 64, 32, 32\)\], expected"):
        Encoder(Halved(), input_size=128, in_channels=3)


def test_checking_the_contract_leaves_the_batch_statistics_alone() -> None:
    encoder = build("resnet18")
    assert encoder.backbone.bn1.num_batches_tracked == 0

"""Settings under which every architecture is shown, measured and tried out."""

from typing import Any

from salt.models.segmenter import ModelConfig, config_from

# 2.5-D stacks of three tiles, at widths that suit tiles of 101 pixels.
COMMON: dict[str, Any] = {
    "encoder": "resnet34",
    "encoder_width": 32,
    "encoder_depths": [1, 1, 2],
    "encoder_weights": "none",
    "decoder_channels": [128, 64, 32, 16],
    "decoder_dropout": 0.1,
    "attention": "none",
    "presence_head": True,
    "input_size": 112,
    "stack_width": 3,
}
# What a row changes of the settings above; several rows of an architecture show its encoders.
REFERENCES: list[tuple[str, dict[str, Any]]] = [
    ("hybrid", {"encoder": "swinv2", "attention": "scse"}),
    ("hybrid", {"encoder": "sam2_hiera_tiny", "input_size": 128}),
    ("unet", {}),
    ("unet", {"encoder": "vgg16_bn"}),
    ("unet", {"encoder": "xception41"}),
    ("unet", {"encoder": "efficientnet_b0"}),
    ("unet", {"encoder": "convnext_atto"}),
    ("unet", {"encoder": "hrnet_w18_small", "input_size": 128}),
    ("plain_unet", {"width": 64}),
    ("residual_unet", {"width": 16, "input_size": 101}),
    ("segnet", {"width": 64, "input_size": 101, "decoder_channels": [64] * 5}),
    ("psp_unet", {"width": 32, "attention": "scse"}),
    ("unetplusplus", {}),
    ("deeplabv3plus", {}),
    ("pspnet", {"decoder_channels": [128, 64, 32]}),
    ("linknet", {}),
    ("fpn", {}),
    ("upernet", {}),
    ("manet", {}),
    ("segformer", {}),
    ("fcn", {"decoder_channels": [128, 64, 32]}),
    ("monai_unet", {"width": 32}),
    ("attention_unet", {"width": 32}),
    ("dynunet", {"width": 32, "normalisation": "instance", "deep_supervision": True}),
    ("segresnet", {"width": 16, "normalisation": "group", "decoder_channels": [64] * 3}),
    ("swin_unetr", {"width": 24, "normalisation": "instance", "input_size": 128}),
]


def reference(name: str, changes: dict[str, Any]) -> ModelConfig:
    """Return the settings `COMMON` for an architecture, some of them changed."""
    return config_from(COMMON | {"architecture": name} | changes)

"""Every architecture by the name that `model.architecture` gives it.

All are called alike: `network(images [B, C, S, S]) -> Segmentation`. `python -m salt.models`
lists them.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path

from salt.errors import ModelError, SaltError, in_one_line
from salt.files import read_json
from salt.models.segmenter import (
    CONFIG,
    WEIGHTS,
    ModelConfig,
    Network,
    Segmenter,
    config_from,
)
from salt.models.weights import load_weights
from salt.models.zoo.fcn import build_fcn
from salt.models.zoo.monai import (
    build_attention_unet,
    build_dynunet,
    build_monai_unet,
    build_segresnet,
    build_swin_unetr,
)
from salt.models.zoo.own import (
    build_plain_unet,
    build_psp_unet,
    build_residual_unet,
    build_segnet,
)
from salt.models.zoo.smp import build_smp

EVERYWHERE = frozenset({"coordinates", "features", "padding", "depth_input"})  # all read these
SITES = "dropout_sites"  # ours alone: others have one site, before the heads, whatever it says
ATTENTION = frozenset({"attention"})
UNET = frozenset({"upsampling", "skip_attention", "hypercolumn", "deep_supervision"})
OPTION_DEFAULTS = {f.name: f.default for f in fields(ModelConfig) if f.default is not MISSING}
SMALL = frozenset({"width", "normalisation", "activation"})


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        source: the library it comes from.
        build: makes the network of a config.
        encoder: whether `model.encoder` is read.
        options: further settings it reads, `attention` among them.
        depth_inside: whether `model.depth_input` may be `inside`.
        presence: what the presence head reads.
    """

    source: str
    build: Callable[[ModelConfig], Network]
    encoder: bool = False
    options: frozenset[str] = frozenset()
    depth_inside: bool = False
    presence: str = "coarsest features"


def _segmenter() -> Architecture:
    return Architecture(
        "salt, timm", Segmenter, encoder=True, options=UNET | ATTENTION, depth_inside=True
    )


def _smp(model_class: str, options: frozenset[str] = frozenset()) -> Architecture:
    build = partial(build_smp, model_class=model_class)
    return Architecture("segmentation-models-pytorch", build, encoder=True, options=options)


def _monai(build: Callable[[ModelConfig], Network], *options: str) -> Architecture:
    return Architecture("MONAI", build, options=frozenset(options), presence="decoded features")


ARCHITECTURES: dict[str, Architecture] = {
    "hybrid": _segmenter(),
    "unet": _segmenter(),
    "plain_unet": Architecture("salt", build_plain_unet, options=SMALL | UNET, depth_inside=True),
    "residual_unet": Architecture(
        "salt", build_residual_unet, options=SMALL | {"hypercolumn"}, depth_inside=True
    ),
    "segnet": Architecture("salt", build_segnet, options=SMALL),
    "psp_unet": Architecture("salt", build_psp_unet, options=SMALL | ATTENTION),
    "unetplusplus": _smp("UnetPlusPlus", ATTENTION),
    "deeplabv3plus": _smp("DeepLabV3Plus"),
    "pspnet": _smp("PSPNet"),
    "linknet": _smp("Linknet"),
    "fpn": _smp("FPN"),
    "upernet": _smp("UPerNet"),
    "manet": _smp("MAnet"),
    "segformer": _smp("Segformer"),
    "fcn": Architecture("torchvision, timm", build_fcn, encoder=True),
    "monai_unet": _monai(build_monai_unet, "width", "normalisation", "activation"),
    "attention_unet": _monai(build_attention_unet, "width"),
    "dynunet": _monai(build_dynunet, "width", "normalisation", "deep_supervision"),
    "segresnet": Architecture(
        "MONAI", build_segresnet, options=frozenset({"width", "normalisation"})
    ),
    "swin_unetr": _monai(build_swin_unetr, "width", "normalisation"),
}


def build_model(config: ModelConfig) -> Network:
    """Build the network that a config describes, with fresh or `config.encoder_weights` weights.

    Says on standard output if it has no place for `config.attention`, which has no value that
    suits all and is not refused for that.

    Raises:
        ModelError: unknown architecture, an option it does not have, encoder weights where
            there is no encoder, or settings that do not fit each other.
    """
    network = _built(config)
    if config.attention != "none" and "attention" not in ARCHITECTURES[config.architecture].options:
        print(f"attention: {config.architecture} has no place for {config.attention}; left out")
    return network


def load_model(folder: Path) -> Network:
    """Rebuild a saved model, in evaluation mode.

    Raises:
        ModelError: the weights do not fit the config.
        StoreError: a file is missing.
    """
    model = _built(config_from(read_json(folder / CONFIG) | {"encoder_weights": "none"}))
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def _built(config: ModelConfig) -> Network:
    name = config.architecture
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model.architecture is {name!r}, expected one of {', '.join(ARCHITECTURES)}. "
            "`python -m salt.models` lists them."
        )
    _require_readable(config, ARCHITECTURES[name])
    try:
        return ARCHITECTURES[name].build(config)
    except SaltError:
        raise
    except Exception as error:  # a library's layers raise whatever they like
        raise ModelError(
            f"{name} could not be built ({in_one_line(error)}). Change "
            "model.decoder_channels (their number is the depth), model.width or model.encoder."
        ) from error


def _require_readable(config: ModelConfig, architecture: Architecture) -> None:
    name, readable = config.architecture, architecture.options | EVERYWHERE | {SITES}
    for option, default in OPTION_DEFAULTS.items():
        value = getattr(config, option)
        if option not in readable and value != default:
            raise ModelError(
                f"model.{option} is {value!r}, but {name} does not have this option; expected its "
                f"default {default!r}. Set that, or choose another model.architecture."
            )
    if config.depth_input == "inside" and not architecture.depth_inside:
        able = [known for known, entry in ARCHITECTURES.items() if entry.depth_inside]
        raise ModelError(
            f"model.depth_input is 'inside', but {name} has no place for it; expected none or "
            f"channel. Set one of these, or choose as model.architecture one of {', '.join(able)}."
        )
    if config.encoder_weights != "none" and not architecture.encoder:
        raise ModelError(
            f"model.encoder_weights is {config.encoder_weights!r}, but {name} has no encoder to "
            "load them into; expected none. Set that, or choose another model.architecture."
        )

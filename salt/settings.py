"""The sections of `params.yaml` as frozen, typed, validated settings.

A refusal says what would be possible; `salt.params` reads the file and names the key.
"""

from itertools import accumulate
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from salt.section import Count, Positive, PositiveFloat, Section, Share, Weight
from salt.train_settings import Train

# loss terms that cannot stand alone
ACCOMPANYING = ("topology_", "total_variation_", "presence_", "auxiliary_")


class Data(Section):
    source: Literal["demo", "tgs"]
    raw: str
    tile_format: Literal["native", "upscaled_202"]


class Demo(Section):
    blocks: Positive
    test_blocks: Positive
    inlines: Annotated[int, Field(ge=1, le=9)]
    empty_share: Share

    @model_validator(mode="after")
    def _leaves_training_blocks(self) -> "Demo":
        if self.test_blocks >= self.blocks:
            raise ValueError(f"test_blocks must be below blocks ({self.blocks})")
        return self


class Index(Section):
    folds: Annotated[list[Count], Field(min_length=2)]
    scheme: Literal["section", "depth", "random"]
    stack: Literal["volume", "section", "depth", "none"]
    neighbours: Literal["jigsaw", "given"]

    @model_validator(mode="after")
    def _folds_count_from_zero(self) -> "Index":
        if self.folds != list(range(len(self.folds))):
            raise ValueError(f"folds must be 0, 1, 2 ... without gaps, got {self.folds}")
        return self


class Synthesize(Section):
    tiles: Count


class Pretrain(Section):
    epochs: Count
    batch_size: Positive
    learning_rate: PositiveFloat
    weight_decay: Weight
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    patch_size: Positive


class Model(Section):
    architecture: Literal[
        "hybrid",
        "unet",
        "plain_unet",
        "residual_unet",
        "segnet",
        "psp_unet",
        "unetplusplus",
        "deeplabv3plus",
        "pspnet",
        "linknet",
        "fpn",
        "upernet",
        "manet",
        "segformer",
        "fcn",
        "monai_unet",
        "attention_unet",
        "dynunet",
        "segresnet",
        "swin_unetr",
    ]
    encoder: str
    encoder_width: Positive
    encoder_depths: list[Positive]
    encoder_weights: str
    decoder_channels: Annotated[list[Positive], Field(min_length=2)]
    decoder_dropout: Annotated[float, Field(ge=0, lt=1)]
    dropout_sites: Literal["early", "late", "head"]
    attention: Literal["scse", "none"]
    presence_head: bool
    input_size: Annotated[int, Field(ge=101)]
    padding: Literal["reflect", "edge", "zero", "neighbours"]
    stack_width: Literal[1, 3]
    width: Positive
    normalisation: Literal["batch", "instance", "group", "none"]
    activation: Literal["relu", "leaky_relu", "elu", "silu"]
    upsampling: Literal["nearest", "transposed"]
    skip_attention: Literal["none", "spatial"]
    hypercolumn: bool
    deep_supervision: bool
    coordinates: bool
    features: list[Literal["gradient", "cumulative_amplitude"]]
    depth_input: Literal["none", "channel", "inside"]

    @field_validator("features")
    @classmethod
    def _features_once(cls, features: list[str]) -> list[str]:
        if len(set(features)) < len(features):
            raise ValueError("name each feature once")
        return features


class LossPhase(Section):
    share: Annotated[float, Field(gt=0, le=1)]
    change: Literal["step", "linear"]
    weights: Annotated[dict[str, Weight], Field(min_length=1)]


class Loss(Section):
    dice_weight: Weight
    bce_weight: Weight
    focal_weight: Weight
    focal_gamma: Weight
    lovasz_weight: Weight
    lovasz_hinge_weight: Weight
    boundary_weight: Weight
    distance_weight: Weight
    iou_weight: Weight
    focal_iou_weight: Weight
    focal_iou_gamma: PositiveFloat
    tversky_weight: Weight
    tversky_alpha: Weight
    tversky_beta: Weight
    topology_weight: Weight
    topology_iterations: Positive
    total_variation_weight: Weight
    presence_weight: Weight
    auxiliary_weight: Weight
    schedule: list[LossPhase]

    def weights_by_phase(self) -> list[dict[str, float]]:
        """Return all weights at the start and at the begin of each phase."""
        weights = {name: value for name, value in self if name.endswith("_weight")}
        return list(accumulate(self.schedule, lambda w, phase: w | phase.weights, initial=weights))

    @model_validator(mode="after")
    def _teaches_something_in_every_phase(self) -> "Loss":
        by_phase, shares = self.weights_by_phase(), [phase.share for phase in self.schedule]
        if sorted(set(shares)) != shares:
            raise ValueError(f"schedule's shares must rise from phase to phase, got {shares}")
        unknown = sorted(by_phase[-1].keys() - by_phase[0].keys())
        if unknown:
            raise ValueError(f"schedule sets unknown weights {unknown}; see this section's keys")
        alone = [name for name in by_phase[0] if not name.startswith(ACCOMPANYING)]
        for place, weights in enumerate(by_phase):
            if not any(weights[name] for name in alone):
                phase = f" in phase {place} of schedule" if place else ""
                raise ValueError(f"all pixel weights are 0{phase}; set one of {', '.join(alone)}")
        return self


class Augment(Section):
    horizontal_flip: Share
    affine: Share
    shift: Share
    zoom: Annotated[float, Field(ge=0, lt=1)]
    shear: Annotated[float, Field(ge=0, le=45)]
    brightness: Share
    contrast: Share
    rotation: Annotated[float, Field(ge=0, le=180)]
    elastic: Share
    gamma: Annotated[float, Field(ge=0, le=0.9)]
    polarity: Share
    noise: Share
    cutout: Share
    mixup: Share
    cutmix: Share

    @model_validator(mode="after")
    def _a_batch_is_mixed_once(self) -> "Augment":
        if self.mixup + self.cutmix > 1:
            raise ValueError(f"mixup + cutmix must be at most 1, got {self.mixup + self.cutmix}")
        return self


class Pseudo(Section):
    share: Weight
    agreement: Share
    weight: Share
    epochs: Positive
    learning_rate: PositiveFloat


class Uncertainty(Section):
    passes: Positive


class Refine(Section):
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: PositiveFloat
    weight_decay: Weight
    width: Positive
    adopt: Literal["auto", "always", "never"]


class Ensemble(Section):
    tta: Literal["none", "flip", "flip_shift", "flip_scale"]
    average: Literal["probability", "logit"]
    weights: Literal["equal", "fitted"]


class Postprocess(Section):
    crf_iterations: Count
    extend_vertical: bool
    seam_feather: Annotated[int, Field(ge=0, le=50)]  # the fades of two seams must not meet


class Threshold(Section):
    candidates: Positive
    minimum_sizes: Annotated[list[Count], Field(min_length=1)]
    presence_gates: Annotated[list[Share], Field(min_length=1)]
    minimum_components: Annotated[list[Count], Field(min_length=1)]
    fill_holes: Annotated[list[Count], Field(min_length=1)]


class Report(Section):
    gallery_tiles: Positive
    sections: Count
    bootstrap_samples: Positive


class Runtime(Section):
    device: Literal["auto", "cpu", "cuda"]
    threads: Positive
    workers: Count
    deterministic: bool


class Params(Section):
    """All of `params.yaml`; each attribute is the section of that name."""

    seed: Count
    data: Data
    demo: Demo
    index: Index
    synthesize: Synthesize
    pretrain: Pretrain
    model: Model
    loss: Loss
    augment: Augment
    train: Train
    pseudo: Pseudo
    uncertainty: Uncertainty
    refine: Refine
    ensemble: Ensemble
    postprocess: Postprocess
    threshold: Threshold
    report: Report
    runtime: Runtime

    @model_validator(mode="after")
    def _stack_fits_source(self) -> "Params":
        if self.data.source == "tgs" and self.index.stack == "volume":
            raise ValueError("index.stack: volume needs a source with known inlines; use section")
        return self

    @model_validator(mode="after")
    def _passes_differ(self) -> "Params":
        if self.uncertainty.passes > 1 and not self.model.decoder_dropout:
            raise ValueError(
                f"uncertainty.passes is {self.uncertainty.passes}, but without "
                "model.decoder_dropout all passes are the same; set it above 0 or passes to 1"
            )
        return self

    @model_validator(mode="after")
    def _weights_can_be_fitted(self) -> "Params":
        fitted = self.ensemble.weights == "fitted"
        if fitted and (self.refine.adopt != "auto" or self.ensemble.average != "probability"):
            raise ValueError(
                "ensemble.weights: fitted weighs plain against refined probabilities; it needs "
                "refine.adopt: auto and ensemble.average: probability"
            )
        return self

    @model_validator(mode="after")
    def _presence_is_trained(self) -> "Params":
        highest = max(weights["presence_weight"] for weights in self.loss.weights_by_phase())
        if self.model.presence_head != (highest > 0):
            raise ValueError(
                f"model.presence_head is {str(self.model.presence_head).lower()} and "
                f"loss.presence_weight at most {highest}; set a weight above 0 with "
                "the head, and 0 without it"
            )
        return self

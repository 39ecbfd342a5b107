"""The section `train` of `params.yaml`, and which of its settings fit each other."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from salt.section import Count, Positive, PositiveFloat, Section, Share, Weight


class Train(Section):
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]  # batch norm needs two
    learning_rate: PositiveFloat
    weight_decay: Weight
    optimiser: Literal["adamw", "sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    normalise_gradients: bool
    schedule: Literal["cosine", "one_cycle", "plateau", "warm_restarts", "constant"]
    warmup_share: Annotated[float, Field(ge=0, lt=1)]
    cycles: Positive
    snapshots: Count
    plateau_patience: Count
    plateau_factor: Annotated[float, Field(gt=0, lt=1)]
    accumulate: Positive
    gradient_clip: PositiveFloat
    encoder_learning_rate: PositiveFloat
    freeze_encoder_epochs: Count
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    swa_start: Share
    early_stopping: Count
    score_window: Positive
    validation_share: Annotated[float, Field(ge=0, lt=0.5)]
    synthetic_share: Weight
    precision: Literal["bf16", "fp16", "fp32"]
    compile: bool
    devices: Positive
    nodes: Positive

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> "Train":
        if not self.validation_share and (self.early_stopping or self.schedule == "plateau"):
            name = "early_stopping" if self.early_stopping else "schedule plateau"
            raise ValueError(f"{name} needs validation tiles; set validation_share above 0")
        if self.schedule == "warm_restarts" and self.cycles > self.epochs:
            raise ValueError(f"cycles must be at most epochs ({self.epochs}), got {self.cycles}")
        if self.optimiser == "sgd" and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum; set it above 0, or nesterov to false")
        return self

    @model_validator(mode="after")
    def _snapshots_are_of_cycles_that_end(self) -> "Train":
        if not self.snapshots:
            return self
        if self.schedule != "warm_restarts":
            raise ValueError(f"snapshots needs schedule warm_restarts, got {self.schedule}")
        if self.snapshots > self.cycles:
            raise ValueError(
                f"snapshots must be at most cycles ({self.cycles}), got {self.snapshots}"
            )
        if self.early_stopping:
            raise ValueError("snapshots needs all cycles to their end; set early_stopping to 0")
        if self.swa_start < 1:
            raise ValueError("snapshots keeps single epochs' weights, no mean; set swa_start to 1")
        return self

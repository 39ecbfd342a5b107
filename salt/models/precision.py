"""The floating-point format that networks compute in."""

import torch

from salt.errors import TrainingError

FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context that runs matrix products in `bf16`, `fp16` or (all of it) `fp32`.

    Raises:
        TrainingError: fp16 without a GPU, whose narrow range needs the GPU's scaled gradients.
    """
    if precision == "fp16" and device.type != "cuda":
        raise TrainingError(
            f"train.precision is fp16, but the device is {device.type}; expected a CUDA device. "
            "Set train.precision to bf16 or fp32."
        )
    reduced = precision != "fp32"
    return torch.autocast(
        device.type, dtype=FORMATS[precision] if reduced else None, enabled=reduced
    )

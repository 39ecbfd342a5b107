import pytest
import torch

from salt.errors import TrainingError
from salt.models.precision import autocast

CPU = torch.device("cpu")


def test_precision_is_that_of_the_matrix_products() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(CPU, precision):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(TrainingError, match=r"fp16, but the device is cpu; expected a CUDA device"):
        autocast(CPU, "fp16")
    assert autocast(torch.device("cuda"), "fp16").fast_dtype == torch.float16

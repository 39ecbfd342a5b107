import pytest
import torch

from salt.errors import TrainingError
from salt.fit.devices import open_device, require_compiler


@pytest.fixture(autouse=True)
def same_threads_after():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_cpu_is_always_there_and_takes_the_threads_asked_for() -> None:
    assert open_device("cpu", threads=2, deterministic=True) == torch.device("cpu")
    assert torch.get_num_threads() == 2


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for present, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda present=present: present)
        assert open_device("auto", threads=1, deterministic=False).type == expected


def test_a_gpu_that_is_not_there_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=r"Set runtime.device to auto or cpu"):
        open_device("cuda", threads=1, deterministic=True)


def test_a_compiler_that_is_not_there_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(TrainingError, match=r"train.compile is true, but there is no no-such-comp"):
        require_compiler()

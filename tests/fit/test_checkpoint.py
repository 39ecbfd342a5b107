from pathlib import Path

import pytest
import torch
from torch import nn

from salt.errors import StoreError, TrainingError
from salt.fit import checkpoint


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return [tmp_path / "a", tmp_path / "b"]


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source file that stands for all loaded code."""
    path = tmp_path / "module.py"
    path.write_text("pass")
    monkeypatch.setattr(checkpoint, "_loaded_sources", lambda: [path])
    return path


def test_the_same_run_has_the_same_folder(inputs: list[Path], code: Path) -> None:
    first, second = (checkpoint.resume_folder("train@0", {"lr": 1.0}, inputs) for _ in range(2))
    assert first == second
    assert first == checkpoint.resume_folder("train@0", {"lr": 1.0}, inputs[::-1])
    assert first.name.startswith("train-0-")


def test_other_settings_stages_data_or_code_have_another(inputs: list[Path], code: Path) -> None:
    folders = [
        checkpoint.resume_folder("train@0", {"lr": 1.0}, inputs),
        checkpoint.resume_folder("train@0", {"lr": 2.0}, inputs),
        checkpoint.resume_folder("train@1", {"lr": 1.0}, inputs),
        checkpoint.resume_folder("train@0", {"lr": 1.0}, inputs[:1]),
    ]
    inputs[0].write_text("other data")
    folders.append(checkpoint.resume_folder("train@0", {"lr": 1.0}, inputs))
    code.write_text("other code")
    folders.append(checkpoint.resume_folder("train@0", {"lr": 1.0}, inputs))
    assert len(set(folders)) == len(folders)


def test_the_code_is_every_loaded_module_of_the_library_but_the_frame() -> None:
    names = {path.name for path in checkpoint._loaded_sources()}
    assert {"checkpoint.py", "seeding.py"} <= names
    assert not names & {"errors.py", "params.py", "tracking.py", "files.py"}


def test_the_folder_hangs_on_the_original_dvc_root(
    inputs: list[Path], code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    here = checkpoint.resume_folder("train@0", {}, inputs)
    assert here.parent == Path(".salt/resume")
    monkeypatch.setenv("DVC_ROOT", "/somewhere/else")
    assert checkpoint.resume_folder("train@0", {}, inputs) == Path("/somewhere/else") / here


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent: no such file.*dvc repro"):
        checkpoint.resume_folder("train@0", {}, [tmp_path / "absent"])


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "b": torch.tensor(7),
        "c": torch.randn(3).bfloat16(),
    }
    counters = {"epoch": 3, "best_score": "-inf", "history": [{"loss": 0.1 + 0.2}]}
    checkpoint.save_state(tmp_path / "run", tensors, counters)
    loaded, counted = checkpoint.load_state(tmp_path / "run")
    assert counted == counters
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoint.STATE]


def test_without_a_state_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.load_state(tmp_path) is None


def test_a_damaged_state_says_which_folder_to_delete(tmp_path: Path) -> None:
    (tmp_path / checkpoint.STATE).write_bytes(b"half a fi")
    with pytest.raises(TrainingError, match=f"damaged resume state.*Delete {tmp_path}"):
        checkpoint.load_state(tmp_path)


def test_prefixes_go_on_and_come_off() -> None:
    tensors = {"a.b": torch.zeros(1), "c": torch.ones(1)}
    joined = checkpoint.prefixed("x.", tensors) | checkpoint.prefixed("y.", tensors)
    assert list(joined) == ["x.a.b", "x.c", "y.a.b", "y.c"]
    assert checkpoint.unprefixed("x.", joined) == tensors


def test_a_restored_optimiser_steps_like_the_original() -> None:
    def start() -> tuple[nn.Parameter, torch.optim.Optimizer]:
        parameter = nn.Parameter(torch.arange(6.0).view(2, 3))
        return parameter, torch.optim.AdamW([parameter], lr=0.1)

    def step(parameter: nn.Parameter, optimiser: torch.optim.Optimizer, turn: int) -> None:
        parameter.grad = torch.sin(parameter.detach() + turn)
        optimiser.step()

    original, copied = start(), start()
    step(*original, turn=0)
    moments = checkpoint.optimiser_tensors(original[1])
    assert set(moments) == {"0.step", "0.exp_avg", "0.exp_avg_sq"}
    copied[0].data.copy_(original[0].data)
    checkpoint.restore_optimiser(copied[1], {name: t.clone() for name, t in moments.items()})
    for turn in (1, 2):
        step(*original, turn=turn)
        step(*copied, turn=turn)
    assert torch.equal(original[0], copied[0])


def test_restored_moments_have_the_memory_layout_of_their_parameter() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    moments = {"0.momentum_buffer": torch.randn(4, 3, 3, 3)}
    checkpoint.restore_optimiser(optimiser, moments)
    restored = optimiser.state[weight]["momentum_buffer"]
    assert torch.equal(restored, moments["0.momentum_buffer"])
    assert restored.stride() == weight.stride()


def test_a_parameter_without_a_gradient_leaves_no_moment_of_sgd() -> None:
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimiser = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    weights[1].grad = torch.ones(2)
    optimiser.step()
    assert set(checkpoint.optimiser_tensors(optimiser)) == {"1.momentum_buffer"}


def test_restored_random_states_draw_the_same_numbers() -> None:
    states = checkpoint.random_states()
    first = torch.rand(5)
    checkpoint.restore_random_states(states)
    assert torch.equal(torch.rand(5), first)

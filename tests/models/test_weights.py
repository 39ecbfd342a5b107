import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from salt.errors import ModelError, StoreError
from salt.models.weights import load_weights, read_weights, save_weights


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))


@pytest.fixture
def saved(model: nn.Sequential, tmp_path: Path) -> Path:
    """The weights of such a model, all ones."""
    path = tmp_path / "weights.safetensors"
    save_weights({key: torch.ones_like(t) for key, t in model.state_dict().items()}, path)
    return path


def resave(path: Path, without: tuple[str, ...] = (), **changed: torch.Tensor) -> None:
    kept = {key: tensor for key, tensor in read_weights(path).items() if key not in without}
    save_weights(kept | changed, path)


def test_all_keys_are_loaded_and_named(model: nn.Sequential, saved: Path) -> None:
    assert load_weights(model, saved) == list(model.state_dict())
    assert all((tensor == 1).all() for tensor in model.state_dict().values())


def test_tensors_keep_their_values_whatever_their_layout(tmp_path: Path) -> None:
    tensor = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    save_weights({"t": tensor}, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(tmp_path / "w.safetensors")["t"], tensor)


def test_texts_are_kept_with_the_tensors(saved: Path) -> None:
    save_weights(read_weights(saved), saved, {"epoch": "3"})
    with safe_open(saved, framework="pt") as handle:
        assert handle.metadata() == {"epoch": "3"}


def test_a_full_disk_is_told_in_one_line_and_the_old_file_stays(saved: Path) -> None:
    """A limit on the size of files stands for the full disk: the same refusal to write on."""
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    larger = {"t": torch.zeros(100_000)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"safetensors: could not be written .*expected a w"):
            save_weights(larger, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_missing_key_is_named(model: nn.Sequential, saved: Path) -> None:
    resave(saved, without=("0.bias", "1.weight"))
    with pytest.raises(ModelError, match=r"missing \['0.bias', '1.weight'\], unexpected \[\]"):
        load_weights(model, saved)


def test_an_unexpected_key_is_named(model: nn.Sequential, saved: Path) -> None:
    resave(saved, extra=torch.zeros(1))
    with pytest.raises(ModelError, match=r"missing \[\], unexpected \['extra'\]"):
        load_weights(model, saved)


def test_a_key_of_another_shape_is_named_with_both_shapes(
    model: nn.Sequential, saved: Path
) -> None:
    resave(saved, **{"2.bias": torch.zeros(7)})
    with pytest.raises(ModelError, match=r"of another shape \['2.bias \(7,\) for \(1,\)'\]"):
        load_weights(model, saved)


def test_a_refused_file_leaves_the_model_as_it_was(model: nn.Sequential, saved: Path) -> None:
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    resave(saved, without=("2.bias",))
    with pytest.raises(ModelError):
        load_weights(model, saved)
    assert all(torch.equal(before[key], t) for key, t in model.state_dict().items())


def test_prefixes_left_out_are_neither_loaded_nor_missed(model: nn.Sequential, saved: Path) -> None:
    resave(saved, without=("2.bias",))
    before = model[2].weight.clone()
    matched = load_weights(model, saved, leave=("2.",))
    assert not [key for key in matched if key.startswith("2.")]
    assert torch.equal(model[2].weight, before)
    assert (model[0].weight == 1).all()


def test_a_file_in_which_nothing_matches_is_refused(model: nn.Sequential, saved: Path) -> None:
    with pytest.raises(ModelError, match="0 keys match"):
        load_weights(model, saved, leave=("0.", "1.", "2."))


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 100])
def test_a_damaged_file_is_named(model: nn.Sequential, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights.safetensors: damaged"):
        load_weights(model, path)


def test_a_truncated_file_is_refused(model: nn.Sequential, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-4])
    with pytest.raises(ModelError, match="damaged"):
        load_weights(model, saved)


def test_a_torch_checkpoint_is_refused_with_the_way_to_convert_it(
    model: nn.Sequential, tmp_path: Path
) -> None:
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="convert"):
        load_weights(model, tmp_path / "weights.pt")

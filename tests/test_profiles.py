"""Profiles: an overlay changes what it names, keeps the rest, and demo undoes any other."""

import shutil
from pathlib import Path

import pytest

from salt.errors import ParameterError
from salt.params import load_params, read_yaml
from salt.profiles import apply_profile, differences, known_profiles, merged

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = PROJECT / "profiles"


@pytest.fixture
def params_file(tmp_path):
    """A copy of params.yaml as the profile `demo` leaves it."""
    path = tmp_path / "params.yaml"
    shutil.copy(PROJECT / "params.yaml", path)
    apply_profile("demo", path, PROFILES)
    return path


def profile_folder(tmp_path, text):
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    return folder


def test_the_documented_profiles_exist():
    assert known_profiles(PROFILES) == ["demo", "tgs-cpu", "tgs-gpu", "tgs-plain"]


@pytest.mark.parametrize("name", known_profiles(PROFILES))
def test_every_profile_gives_valid_parameters(name, params_file):
    apply_profile(name, params_file, PROFILES)
    expected = "demo" if name == "demo" else "tgs"
    assert load_params(params_file).data.source == expected


@pytest.mark.parametrize("name", known_profiles(PROFILES))
def test_demo_undoes_any_other_profile_to_the_byte(name, params_file):
    before = params_file.read_bytes()
    apply_profile(name, params_file, PROFILES)
    apply_profile("demo", params_file, PROFILES)
    assert params_file.read_bytes() == before


def test_a_profile_leaves_no_trace_of_the_one_before(params_file):
    apply_profile("tgs-plain", params_file, PROFILES)
    directly = load_params(params_file)
    apply_profile("demo", params_file, PROFILES)
    apply_profile("tgs-gpu", params_file, PROFILES)
    apply_profile("tgs-plain", params_file, PROFILES)
    assert load_params(params_file) == directly


def test_the_committed_parameters_are_the_profile_demo():
    committed = read_yaml(PROJECT / "params.yaml")
    if committed["data"]["source"] != "demo":
        pytest.skip("another profile is applied to params.yaml")
    assert differences(committed, merged(committed, read_yaml(PROFILES / "demo.yaml"))) == []


def test_changes_are_reported_with_their_full_path(tmp_path, params_file):
    folder = profile_folder(tmp_path, "train: {epochs: 3}\n")
    epochs = load_params(params_file).train.epochs
    assert apply_profile("mine", params_file, folder) == [f"train.epochs: {epochs} -> 3"]
    assert apply_profile("mine", params_file, folder) == []


def test_comments_and_keys_the_profile_does_not_name_stay(tmp_path, params_file):
    before = params_file.read_text().splitlines()
    apply_profile("mine", params_file, profile_folder(tmp_path, "train: {epochs: 31}\n"))
    after = params_file.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["  epochs: 31"]


def test_a_list_is_replaced_and_not_merged():
    assert merged({"a": {"b": [1, 2], "c": 0}}, {"a": {"b": [3]}}) == {"a": {"b": [3], "c": 0}}


def test_an_unknown_profile_lists_the_known_ones(params_file):
    with pytest.raises(ParameterError, match=r"'tgs'; expected one of: demo, tgs-cpu, tgs-gpu"):
        apply_profile("tgs", params_file, PROFILES)


def test_a_profile_name_cannot_leave_the_folder(params_file):
    with pytest.raises(ParameterError, match="unknown profile"):
        apply_profile("../profiles/demo", params_file, PROFILES)


@pytest.mark.parametrize(
    ("overlay", "message"),
    [("train: {epoch: 3}\n", "train.epoch: unknown key"), ("train: {epochs: 0}\n", "train.epochs")],
)
def test_an_invalid_result_writes_nothing(tmp_path, params_file, overlay, message):
    before = params_file.read_bytes()
    with pytest.raises(ParameterError, match=message):
        apply_profile("mine", params_file, profile_folder(tmp_path, overlay))
    assert params_file.read_bytes() == before

"""Parameters: what is refused, and that each message names the key's full path."""

import copy
from pathlib import Path

import pytest
from pydantic import ValidationError

from salt.errors import ParameterError
from salt.params import load_params, parse_params, read_yaml

PROJECT = Path(__file__).resolve().parents[1]
SNAPSHOTS = {"schedule": "warm_restarts", "cycles": 4, "snapshots": 4, "early_stopping": 0}


@pytest.fixture
def content():
    return copy.deepcopy(read_yaml(PROJECT / "params.yaml"))


def refusal(content):
    with pytest.raises(ParameterError) as caught:
        parse_params(content, "params.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_projects_parameters_are_valid():
    assert load_params(PROJECT / "params.yaml").index.folds[0] == 0


def test_settings_are_frozen(content):
    with pytest.raises(ValidationError):
        parse_params(content).train.epochs = 1


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.e-4", "0.0001", "+1e-4"])
def test_every_spelling_of_a_small_number_is_a_float(tmp_path, number):
    path = tmp_path / "params.yaml"
    path.write_text(f"learning_rate: {number}\n")
    assert read_yaml(path) == {"learning_rate": 0.0001}


def test_text_that_only_resembles_a_number_stays_text(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: 1e-4x\nb: e5\nc: '1e-4'\n")
    assert read_yaml(path) == {"a": "1e-4x", "b": "e5", "c": "1e-4"}


def test_a_number_as_dvc_writes_it_is_valid(tmp_path):
    path = tmp_path / "params.yaml"
    lines = (PROJECT / "params.yaml").read_text().splitlines(keepends=True)
    start = lines.index("train:\n")
    row = next(i for i in range(start, len(lines)) if "learning_rate:" in lines[i])
    lines[row] = "  learning_rate: 1e-4\n"
    path.write_text("".join(lines))
    assert load_params(path).train.learning_rate == 0.0001


def test_an_unknown_key_is_named_with_its_section(content):
    content["train"]["epoch"] = 3
    assert refusal(content).startswith("params.yaml: train.epoch: unknown key.")


def test_an_unknown_section_is_named(content):
    content["trian"] = {}
    assert "trian: unknown key" in refusal(content)


def test_a_missing_key_is_named(content):
    del content["loss"]["dice_weight"]
    assert "loss.dice_weight: missing key" in refusal(content)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "epochs", 0),
        ("train", "epochs", "24"),
        ("train", "epochs", 2.5),
        ("train", "epochs", True),
        ("train", "learning_rate", "fast"),
        ("train", "learning_rate", -1e-3),
        ("train", "learning_rate", float("inf")),
        ("train", "precision", "fp8"),
        ("loss", "dice_weight", -1.0),
        ("loss", "dice_weight", float("nan")),
        ("loss", "focal_iou_gamma", 0.0),
        ("loss", "topology_iterations", 0),
        ("train", "optimiser", "adam"),
        ("train", "schedule", "linear"),
        ("train", "accumulate", 0),
        ("train", "devices", 0),
        ("train", "nodes", 0),
        ("train", "swa_start", 1.1),
        ("train", "plateau_factor", 1.0),
        ("train", "encoder_learning_rate", 0.0),
        ("model", "stack_width", 2),
        ("model", "input_size", 100),
        ("model", "padding", "mirror"),
        ("index", "stack", "inline"),
        ("index", "scheme", "coverage"),
        ("augment", "horizontal_flip", 1.5),
        ("data", "source", "kaggle"),
        ("index", "neighbours", "guess"),
        ("postprocess", "seam_feather", 51),
        ("report", "sections", -1),
        ("index", "folds", [0]),
        ("runtime", "deterministic", "yes"),
    ],
)
def test_an_impossible_value_is_named_with_what_was_got(content, section, key, value):
    content[section][key] = value
    message = refusal(content)
    assert message.startswith(f"params.yaml: {section}.{key}: got {value!r}; ")


def test_an_impossible_item_of_a_list_is_named_by_its_place(content):
    content["threshold"]["presence_gates"] = [0.0, 1.5]
    assert "threshold.presence_gates.1: got 1.5" in refusal(content)


def test_an_integer_is_accepted_where_a_float_is_meant(content):
    content["loss"]["dice_weight"] = 1
    assert parse_params(content).loss.dice_weight == 1.0


def test_folds_with_a_gap_are_refused(content):
    content["index"]["folds"] = [0, 2]
    assert "index" in refusal(content) and "[0, 2]" in refusal(content)


def test_a_loss_without_any_pixel_term_is_refused(content):
    content["loss"] |= {key: 0.0 for key in content["loss"] if key.endswith("_weight")}
    assert "all pixel weights are 0" in refusal(content)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([(0.5, {"bce": 1.0})], r"loss: schedule sets unknown weights ['bce']"),
        ([(0.5, {"bce_weight": 1.0}), (0.5, {"bce_weight": 0.0})], "shares must rise"),
        ([(0.0, {"bce_weight": 1.0})], "loss.schedule.0.share: got 0.0"),
        ([(0.5, {"bce_weight": -1.0})], "loss.schedule.0.weights.bce_weight: got -1.0"),
        ([(0.5, {})], "loss.schedule.0.weights"),
        (
            [(0.5, {"dice_weight": 0.0, "focal_weight": 0.0, "boundary_weight": 0.0})],
            "all pixel weights are 0 in phase 1 of schedule",
        ),
        ([(0.5, {"presence_weight": 0.0})], None),
    ],
)
def test_phases_of_the_loss_are_checked(content, phases, message):
    content["loss"]["schedule"] = [
        {"share": share, "change": "step", "weights": weights} for share, weights in phases
    ]
    if message is None:
        assert parse_params(content).loss.schedule[0].share == 0.5
    else:
        assert message in refusal(content)


def test_a_batch_cannot_be_mixed_twice(content):
    content["augment"] |= {"mixup": 0.6, "cutmix": 0.5}
    assert "mixup + cutmix must be at most 1" in refusal(content)


def test_a_presence_head_may_be_trained_in_a_later_phase_alone(content):
    content["loss"]["presence_weight"] = 0.0
    assert "loss.presence_weight at most 0.0" in refusal(content)
    phase = {"share": 0.5, "change": "step", "weights": {"presence_weight": 0.2}}
    content["loss"]["schedule"] = [phase]
    assert parse_params(content).model.presence_head


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "plateau", "validation_share": 0.0, "early_stopping": 0}, "plateau needs"),
        (
            {"schedule": "warm_restarts", "cycles": 30, "epochs": 24},
            "cycles must be at most epochs",
        ),
        ({"optimiser": "sgd", "momentum": 0.0}, "nesterov needs momentum"),
        (SNAPSHOTS | {"schedule": "cosine"}, "snapshots needs schedule warm_restarts, got cosine"),
        (SNAPSHOTS | {"snapshots": 5}, "snapshots must be at most cycles (4), got 5"),
        (SNAPSHOTS | {"early_stopping": 3}, "snapshots needs all cycles to their end; set early"),
        (SNAPSHOTS | {"swa_start": 0.5}, "snapshots keeps single epochs' weights, no mean; set"),
    ],
)
def test_settings_of_training_that_do_not_fit_each_other_are_refused(content, changes, message):
    content["train"] |= changes
    assert message in refusal(content)


def test_as_many_snapshots_as_cycles_can_be(content):
    content["train"] |= SNAPSHOTS
    assert parse_params(content).train.snapshots == 4


def test_as_many_test_blocks_as_blocks_are_refused(content):
    content["demo"]["test_blocks"] = content["demo"]["blocks"]
    assert "test_blocks must be below blocks" in refusal(content)


def test_a_volume_stack_needs_a_source_with_inlines(content):
    content["data"]["source"] = "tgs"
    content["index"]["stack"] = "volume"
    assert "index.stack: volume" in refusal(content)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architecture", "vnet"),
        ("width", 0),
        ("normalisation", "layer"),
        ("activation", "tanh"),
        ("upsampling", "bilinear"),
        ("skip_attention", "channel"),
        ("features", ["gradient", "gradient"]),
    ],
)
def test_a_network_that_cannot_be_is_refused(content, key, value):
    content["model"][key] = value
    assert refusal(content).startswith(f"params.yaml: model.{key}: got {value!r}; ")


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParameterError, match=r"no such file.*project's root"):
        load_params(tmp_path / "params.yaml")


def test_broken_yaml_names_its_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\ntrain: [1,\n")
    with pytest.raises(ParameterError, match=r"not valid YAML.*line 3"):
        load_params(path)


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ParameterError, match="got list"):
        load_params(path)


@pytest.mark.parametrize(
    ("section", "key", "value"), [("refine", "adopt", "always"), ("ensemble", "average", "logit")]
)
def test_fitted_weights_need_both_maps_and_probabilities(content, section, key, value):
    content["ensemble"]["weights"] = "fitted"
    parse_params(content)
    content[section][key] = value
    assert "ensemble.weights: fitted" in refusal(content)

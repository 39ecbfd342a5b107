"""dvc.yaml says the truth: each stage lists exactly the code and parameters it uses."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from source_graph import (
    PROJECT,
    parameters_read,
    parsed,
    reachable_files,
    salt_files,
    stage_files,
)

# Code that cannot change a number, only whether and where a run is reported or refused.
FRAME = {
    f"salt/{name}.py"
    for name in (
        *("errors", "ledger", "params", "provenance", "section", "settings"),
        *("tracking", "train_settings"),
    )
}
STAGES = [
    "ingest",
    "index",
    "synthesize",
    "pretrain",
    "train",
    "pseudo",
    "student",
    "uncertainty",
    "refine",
    "ensemble",
    "threshold",
    "submit",
    "report",
]
PER_FOLD = {"train", "pseudo", "student", "uncertainty", "refine"}
ITEM = "/${item}"


@pytest.fixture(scope="module")
def pipeline():
    """The stages of dvc.yaml by name, with `do` unfolded."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


@pytest.fixture(scope="module")
def sections():
    return set(yaml.safe_load((PROJECT / "params.yaml").read_text()))


def script_of(stage):
    return Path("stages") / f"{stage}.py"


def names_of(entries):
    """Paths of deps or outs, which may carry options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outputs_of(stage):
    return [name for kind in ("outs", "metrics", "plots") for name in names_of(stage.get(kind, []))]


def lies_in(path, folder):
    return Path(path) == Path(folder) or Path(folder) in Path(path).parents


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value


def covers(listed, key):
    return key == listed or key.startswith(f"{listed}.")


def test_the_pipeline_has_the_stages_of_the_design_in_order(pipeline):
    assert list(pipeline) == STAGES
    assert {path.stem for path in stage_files()} == set(STAGES)


def test_folds_come_from_the_parameters():
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    looped = {name: stage["foreach"] for name, stage in stages.items() if "foreach" in stage}
    assert looped == {name: "${index.folds}" for name in PER_FOLD}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_its_own_script_as_a_module(pipeline, name):
    fold = " --fold ${item}" if name in PER_FOLD else ""
    assert pipeline[name]["cmd"] == f"python -m stages.{name}{fold}"
    assert f"stages/{name}.py" in names_of(pipeline[name]["deps"])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_tracked_under_its_own_name(name):
    calls = [node for node in ast.walk(parsed(script_of(name))) if isinstance(node, ast.Call)]
    opened = [call for call in calls if ast.unparse(call.func).endswith("stage_run")]
    assert [ast.literal_eval(call.args[0]) for call in opened] == [name]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_exactly_the_library_code_it_imports(pipeline, name):
    used = {str(path) for path in reachable_files(script_of(name))} - FRAME
    listed = {dep for dep in names_of(pipeline[name]["deps"]) if dep.startswith("salt/")}
    library = {str(path) for path in salt_files() if path.name != "__init__.py"}
    covered = {file for file in library if any(lies_in(file, dep) for dep in listed)}
    missing, needless = sorted(used - covered), sorted(covered - used)
    assert not missing, f"dvc.yaml, {name}: add to deps {missing}"
    assert not needless, f"dvc.yaml, {name}: it does not use {needless}"
    absent = [dep for dep in listed if not (PROJECT / dep).exists()]
    assert not absent, f"dvc.yaml, {name}: no such file {absent}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_exactly_the_parameters_it_reads(pipeline, sections, name):
    read = parameters_read(script_of(name), sections)
    read = {key for key in read if key.split(".")[0] != "runtime"}
    listed = set(pipeline[name].get("params", []))
    missing = sorted(key for key in read if not any(covers(item, key) for item in listed))
    needless = sorted(
        item for item in listed if not any(covers(item, key) or covers(key, item) for key in read)
    )
    assert not missing, f"dvc.yaml, {name}: add to params {missing}"
    assert not needless, f"dvc.yaml, {name}: it does not read {needless}"


@pytest.mark.parametrize("path", stage_files(), ids=str)
def test_a_stage_calls_its_parameters_params(path):
    """`parameters_read` follows this name alone; a dump of all is for tracking."""
    calls = [ast.unparse(node) for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    texts = [ast.unparse(node) for node in ast.walk(parsed(path)) if isinstance(node, ast.Assign)]
    named = texts.count("params = load_params()") + calls.count("load_params().model_dump()")
    assert calls.count("load_params()") == named


@pytest.mark.parametrize("path", stage_files(), ids=str)
def test_all_parameters_at_once_go_to_tracking_alone(path):
    everything = {"params.model_dump()", "load_params().model_dump()"}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and not ast.unparse(node.func).endswith("stage_run"):
            values = [*node.args, *(word.value for word in node.keywords)]
            assert not everything & {ast.unparse(value) for value in values}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_writes_only_its_own_folder(pipeline, name):
    folder = f"data/{name}{ITEM if name in PER_FOLD else ''}"
    for output in outputs_of(pipeline[name]):
        assert lies_in(output, folder), output


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_reads_only_stages_before_it(pipeline, name):
    before = [f"data/{other}" for other in STAGES[: STAGES.index(name)]]
    for dep in names_of(pipeline[name]["deps"]):
        if dep.startswith("data/"):
            assert any(lies_in(dep, folder) for folder in before), dep


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_exactly_the_folders_it_names(pipeline, name):
    texts = {node.value for node in ast.walk(parsed(script_of(name))) if is_text(node)}
    named = {match[1] for text in texts if (match := re.match(r"data/([a-z]+)", text))}
    listed = {dep.split("/")[1] for dep in names_of(pipeline[name]["deps"]) if dep[:5] == "data/"}
    everything = set(STAGES[: STAGES.index(name)]) if "data" in texts else set()
    assert listed - everything == named - everything - {name}


def test_only_the_report_reads_the_test_truth(pipeline):
    for name in STAGES[1:-1]:
        deps = names_of(pipeline[name]["deps"])
        assert not [dep for dep in deps if lies_in("data/ingest/truth", dep)], name


def test_metrics_go_to_git_and_nothing_persists(pipeline):
    text = (PROJECT / "dvc.yaml").read_text()
    assert "persist" not in text
    assert pipeline["report"]["metrics"] == [{"data/report/metrics.json": {"cache": False}}]

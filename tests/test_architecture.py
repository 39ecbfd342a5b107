"""The house: imports run one way, stages stay small and apart (docs/architecture.md)."""

from itertools import pairwise
from pathlib import Path

import pytest
from source_graph import (
    PROJECT,
    imported_files,
    imported_names,
    module_of,
    reachable_files,
    salt_files,
    stage_files,
)

# A module may import from its own layer and those above it in this list.
LAYERS = [
    "errors files seeding rle params section settings train_settings store padding metrics "
    "baselines provenance ledger tracking profiles markdown",
    "sources neighbours synthesis augment stacks dataset depth mixing maps",
    "models losses",
    "fit",
    "infer blend",
    "report",
]
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names.split()}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
STAGE_LINES, SALT_LINES = 80, 350


def part_of(path: Path) -> str:
    """The file or folder directly under salt/ that a source file belongs to."""
    return path.with_suffix("").parts[1]


def importers_of(module: str) -> set[str]:
    return {
        module_of(path)
        for path in [*salt_files(), *stage_files()]
        if module in imported_names(path)
    }


def of_package(names: set[str], package: str) -> set[str]:
    return {name for name in names if name.split(".")[0] == package}


def test_no_stage_imports_another_stage():
    for path in [*stage_files(), *salt_files()]:
        assert not of_package(imported_names(path), "stages"), path


@pytest.mark.parametrize("path", salt_files(), ids=module_of)
def test_imports_run_one_way_along_the_layers(path):
    if path == Path("salt/__init__.py"):
        return
    assert part_of(path) in LAYER, f"{path}: name its layer in LAYERS and docs/architecture.md"
    for imported in imported_files(path):
        assert LAYER[part_of(imported)] <= LAYER[part_of(path)], f"{path} imports {imported}"


def test_no_two_parts_import_each_other_even_through_a_third():
    graph: dict[str, set[str]] = {}
    for path in salt_files():
        if len(path.parts) > 1 and path != Path("salt/__init__.py"):
            others = {part_of(imported) for imported in imported_files(path)} - {part_of(path)}
            graph.setdefault(part_of(path), set()).update(others)
    while leaves := [part for part, others in graph.items() if not others & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph, f"a circle of imports among {sorted(graph)}"


def test_no_module_imports_itself_in_a_circle():
    for path in salt_files():
        assert path not in reachable_files(path), f"{path} is imported by what it imports"


def test_only_stages_and_commands_about_parameters_read_them():
    library = {name for name in importers_of("salt.params") if name.startswith("salt.")}
    assert library <= {"salt.profiles", "salt.report.leaderboard", "salt.blend.__main__"}


def test_only_stages_import_tracking():
    assert not {name for name in importers_of("salt.tracking") if name.startswith("salt.")}


def test_mlflow_is_imported_late_and_in_one_file_and_dvc_nowhere():
    for path in [*salt_files(), *stage_files()]:
        assert not of_package(imported_names(path), "dvc"), path
        assert not of_package(imported_names(path, top_level_only=True), "mlflow"), path
        if path != Path("salt/ledger.py"):
            assert not of_package(imported_names(path), "mlflow"), path


@pytest.mark.parametrize("stage", ["ingest", "index", "synthesize", "submit"])
def test_stages_that_move_data_start_without_torch(stage):
    script = Path("stages") / f"{stage}.py"
    for path in [script, *reachable_files(script, top_level_only=True)]:
        assert not of_package(imported_names(path, top_level_only=True), "torch"), path


@pytest.mark.parametrize("path", stage_files(), ids=str)
def test_a_stage_is_small(path):
    assert len((PROJECT / path).read_text().splitlines()) <= STAGE_LINES


@pytest.mark.parametrize("path", salt_files(), ids=str)
def test_a_library_file_holds_one_concept(path):
    lines = len((PROJECT / path).read_text().splitlines())
    assert lines <= (0 if path.name == "__init__.py" else SALT_LINES)


def test_no_file_or_folder_has_a_vague_name():
    for path in [*salt_files(), *stage_files()]:
        assert not VAGUE_NAMES & {part.strip("_") for part in path.with_suffix("").parts}, path


def test_the_layers_name_only_what_exists():
    parts = {part_of(path) for path in salt_files() if path != Path("salt/__init__.py")}
    assert set(LAYER) == parts


def test_the_page_on_architecture_shows_the_same_order_of_layers():
    page = (PROJECT / "docs" / "architecture.md").read_text()
    table = page[page.index("## Layers") : page.index("## ", page.index("## Layers") + 3)]
    for names in LAYERS:
        for name in names.split():
            assert f"`{name}`" in table, f"docs/architecture.md, Layers: {name} is missing"
    places = [table.index(f"`{names.split()[0]}`") for names in LAYERS]
    assert all(before < after for before, after in pairwise(places))

import importlib.util
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tiny_project import PROJECT
from zoo_configs import smallest

from salt.errors import InputError
from salt.models import __main__ as command
from salt.models.__main__ import COST_HEADINGS, HEADINGS, PAGE, TABLE_END, TABLE_START, describe
from salt.models.cost import Cost, measure_cost, parameter_count
from salt.models.references import REFERENCES, reference
from salt.models.registry import ARCHITECTURES, build_model


def test_every_architecture_has_a_row() -> None:
    assert [*dict.fromkeys(name for name, _ in REFERENCES)] == list(ARCHITECTURES)


def test_a_row_has_a_cell_for_each_heading() -> None:
    assert len(describe(smallest("pspnet"), cost=False)) == len(HEADINGS)
    assert len(describe(smallest("pspnet"), cost=True)) == len(HEADINGS + COST_HEADINGS)


def test_only_encoders_that_are_read_are_shown() -> None:
    cells = {name: describe(smallest(name), cost=False) for name in ("linknet", "segnet")}
    assert cells["linknet"][:3] == ["linknet", "test_resnet", "segmentation-models-pytorch"]
    assert cells["segnet"][:3] == ["segnet", "", "salt"]


def test_parameters_are_those_of_a_network_counted_by_hand() -> None:
    network = build_model(smallest("segnet", decoder_channels=[8], presence_head=False))
    convolutions = 3 * 8 * 9 + 3 * 8 * 8 * 9 + (8 * 9 + 1)  # two down, two up, mask head
    assert parameter_count(network) == convolutions + 4 * 2 * 8  # and four batch norms


def test_a_cost_is_a_time_and_leaves_the_network_in_evaluation_mode() -> None:
    network = build_model(smallest("pspnet"))
    cost = measure_cost(network, batch_size=2)
    assert cost.training > 0 and cost.inference > 0
    assert not network.training


def run_with_fake_costs(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the command on two small networks, as if they took 4.25 and 1 ms a tile."""
    few = [("pspnet", {}), ("segnet", {"width": 8})]
    monkeypatch.setattr(command, "REFERENCES", few)
    monkeypatch.setattr(command, "reference", lambda name, changes: smallest(name, **changes))
    monkeypatch.setattr(command, "measure_cost", lambda network, batch_size: Cost(4.25, 1.0))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # of the whole test process
    monkeypatch.setattr(sys, "argv", ["salt.models", *arguments, "--threads", "1"])
    command.main()


def test_costs_are_written_between_the_marks_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    PAGE.write_text(f"# Networks\n\n{TABLE_START}\n\nold\n\n{TABLE_END}\n\nMore.\n")
    run_with_fake_costs(monkeypatch, "--cost", "--write")
    before, section = PAGE.read_text().split(TABLE_START)
    section, after = section.split(TABLE_END)
    assert (before, after) == ("# Networks\n\n", "\n\nMore.\n")
    headings, _, pspnet, segnet, _, measured = section.strip().splitlines()
    assert headings == f"| {' | '.join(HEADINGS + COST_HEADINGS)} |"
    assert pspnet.startswith("| pspnet | test_resnet |") and pspnet.endswith(" | 4.2 | 1.0 |")
    assert segnet.startswith("| segnet |  | salt |")
    assert measured.startswith("Cost: float32, batches of 16, 1 of ")


def test_a_table_with_a_network_missing_is_not_written(tmp_path: Path) -> None:
    page = tmp_path / "models.md"
    page.write_text("kept")
    with pytest.raises(InputError, match=r"models.md: 1 of 26 networks could be built"):
        command.write_page(page, [["pspnet"]], threads=1)
    assert page.read_text() == "kept"


def test_without_the_page_the_command_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"docs/models.md: no such page. Run from the project's"):
        run_with_fake_costs(monkeypatch, "--cost", "--write")


def test_a_table_without_costs_is_not_written(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with pytest.raises(SystemExit):
        run_with_fake_costs(monkeypatch, "--write")
    assert "--write needs --cost" in capsys.readouterr().err


def test_the_page_has_the_marks_that_the_command_writes_between() -> None:
    page = (PROJECT / PAGE).read_text()
    assert page.count(TABLE_START) == 1 and TABLE_END in page.partition(TABLE_START)[2]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), REFERENCES)
def test_every_row_can_be_built_and_segments_a_tile(name: str, changes: dict) -> None:
    if ARCHITECTURES[name].source == "MONAI" and importlib.util.find_spec("monai") is None:
        pytest.skip("needs MONAI")
    config = reference(name, changes)
    size = config.input_size
    with torch.inference_mode():
        output = build_model(config).eval()(torch.zeros(1, 3, size, size))
    assert output.mask_logits.shape == (1, 1, size, size)
    assert asdict(config)["architecture"] == name


@pytest.mark.slow
def test_the_command_prints_a_table() -> None:
    command = [sys.executable, "-m", "salt.models"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, *rows = printed.splitlines()
    assert first == f"| {' | '.join(HEADINGS)} |"
    assert len({row.count("|") for row in rows}) == 1

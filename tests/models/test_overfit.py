import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import overfit as benchmark
from benchmarks.overfit import ENOUGH, draw_tiles, learn, overfit, score, settings_of
from salt.errors import ModelError
from salt.files import read_json, write_json
from salt.models.registry import ARCHITECTURES, build_model
from salt.padding import pad


def test_the_tiles_to_be_learnt_hold_salt_and_background() -> None:
    images, masks = draw_tiles()
    assert images.shape == (8, 3, 101, 101) and masks.shape == (8, 1, 101, 101)
    assert 0.05 < masks.mean() < 0.8
    assert images.std() > 0.3


def test_a_step_moves_every_parameter_and_a_score_is_a_share() -> None:
    torch.manual_seed(0)
    network = build_model(settings_of("residual_unet"))
    images, masks = draw_tiles()
    images = pad(images, network.config.input_size)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    before = [parameter.clone() for parameter in network.parameters()]
    learn(network.train(), images, masks, optimiser)
    assert 0 <= score(network.eval(), images, masks) <= 1
    assert all(
        not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the benchmark with a fake training; return which networks it trained."""
    monkeypatch.setattr(benchmark, "RESULT", tmp_path / "overfit.json")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # of the whole test process

    def run(*arguments: str) -> list[str]:
        trained: list[str] = []

        def fake(name: str) -> dict[str, Any]:
            trained.append(name)
            if name == "dynunet":
                raise ModelError("dynunet needs MONAI")
            return {"architecture": name, "dice": 0.96, "steps": 20, "seconds": 1.0}

        monkeypatch.setattr(benchmark, "overfit", fake)
        monkeypatch.setattr(sys, "argv", ["overfit", "--threads", "1", *arguments])
        benchmark.main()
        return trained

    return run


def test_a_stopped_run_goes_on_where_it_was(run: Any, capsys) -> None:
    assert run("--write", "--only", "segnet", "unet") == ["segnet", "unet"]
    capsys.readouterr()
    assert run("--write", "--only", "unet", "segnet", "fpn") == ["fpn"]
    assert capsys.readouterr().out.count("dice: 0.96") == 3
    recorded = read_json(benchmark.RESULT)
    names = [row["architecture"] for row in recorded["networks"]]
    assert names == ["unet", "segnet", "fpn"]  # in the registry's order
    assert recorded["settings"]["enough_dice"] == ENOUGH


def test_a_row_of_other_settings_or_another_machine_is_measured_again(run: Any) -> None:
    run("--write", "--only", "segnet", "unet")
    recorded = read_json(benchmark.RESULT)
    recorded["networks"][1]["network"] = "of another width"
    write_json(benchmark.RESULT, recorded)
    assert run("--write", "--only", "segnet", "unet") == ["segnet"]
    recorded["settings"]["most_steps"] = 40
    write_json(benchmark.RESULT, recorded)
    assert run("--write", "--only", "unet") == ["unet"]
    assert run("--write", "--only", "unet", "--threads", "2") == ["unet"]


def test_a_network_whose_library_was_missing_is_tried_again(run: Any) -> None:
    assert run("--write", "--only", "dynunet") == ["dynunet"]
    assert read_json(benchmark.RESULT)["networks"][0]["error"] == "dynunet needs MONAI"
    assert run("--write", "--only", "dynunet") == ["dynunet"]


def test_nothing_is_recorded_unless_asked_for(run: Any) -> None:
    assert run("--only", "segnet") == run("--only", "segnet") == ["segnet"]
    assert not benchmark.RESULT.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_learns_eight_tiles_by_heart(name: str) -> None:
    if ARCHITECTURES[name].source == "MONAI" and importlib.util.find_spec("monai") is None:
        pytest.skip("needs MONAI")
    assert overfit(name)["dice"] > ENOUGH

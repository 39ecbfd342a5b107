"""The examples of docs/uncertainty.md run as they stand."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "uncertainty.md"


def example_of(heading: str) -> str:
    """The one block of Python below a heading."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def test_the_example_on_calibration_finds_the_temperature_it_put_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict = {}
    exec(example_of("Calibration"), names)
    assert names["found"].temperature == pytest.approx(3, abs=0.1)
    assert names["honest"].shape == names["maps"].shape
    first, before, after = capsys.readouterr().out.splitlines()
    assert first == f"temperature {names['found'].temperature:.2f}"
    assert before.split()[:2] > after.split()[:2]  # the error falls


def test_the_example_on_review_ranks_better_than_chance(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict = {}
    exec(example_of("Risk and review"), names)
    areas = names["risk"].compare_orders(names["loss"], names["tiles"]).set_index("order")["area"]
    assert areas["oracle"] < areas["expected_loss"] < areas["random"]
    assert "expected_loss" in capsys.readouterr().out

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salt.errors import InputError
from salt.sources.tables import numbers, read_table, whole_numbers


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "depths.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_values_are_text_and_rows_know_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffz,id,more\r\n1,007,x\r\n\r\n,nan,x\r\n")
    table = read_table(path, ("id", "z"), optional=("geometry",))
    assert table.to_dict("list") == {"id": ["007", "nan"], "z": ["1", ""]}
    assert list(table.index) == [2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,depth\na,1\n", r"columns 'id,depth', no 'z'; expected id,z"),
        ("", r"columns '', no 'id'"),
        ("id,z\n", r"no rows below its header"),
        ("id,z,z\na,1,2\n", r"a column occurs twice in 'id,z,z'"),
        ("id,z\na,1\nb\n", r"line 3: 1 fields; expected 2 \(id,z\)"),
        ("id,z\na,1,2\n", r"line 2: 3 fields; expected 2"),
        ('id,z\n"a,1\n', r"not a table in CSV"),
        (b"id,z\n\xff,1\n", r"not a table in CSV"),
        ("id,z\na,1\nb,1\na,2\n", r"line 4: id 'a' is already in line 2"),
        ("id,z\n../x,1\n", r"line 2: id '\.\./x' is not a plain name"),
        ("id,z\n/etc/passwd,1\n", r"line 2: id '/etc/passwd' is not a plain name"),
        ("id,z\na\0b,1\n", r"line 2: id 'a\\x00b' is not a plain name"),
        ("id,z\n,1\n", r"line 2: id '' is not a plain name"),
        ("id,z\né,1\n", r"line 2: id 'é' is not a plain name"),
        (f"id,z\n{'a' * 65},1\n", r"not a plain name; expected 1 to 64"),
        ('id,z\n"a\n",1\n', r"id 'a\\n' is not a plain name"),
    ],
)
def test_a_malformed_table_names_file_and_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=r"depths\.csv.*" + message) as error:
        read_table(write(tmp_path, content), ("id", "z"))
    assert "\n" not in str(error.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"depths\.csv: no such file"):
        read_table(tmp_path / "depths.csv", ("id", "z"))


def test_an_empty_number_is_unknown() -> None:
    column = pd.Series(["306", "", " 1.5 ", "nan"], name="z")
    np.testing.assert_array_equal(numbers(Path("d.csv"), column), [306, np.nan, 1.5, np.nan])


@pytest.mark.parametrize("text", ["deep", "inf", "-1e999", "1,5"])
def test_what_is_no_number_names_its_line(text: str) -> None:
    with pytest.raises(InputError, match=rf"d\.csv line 7: z is '{text}'; expected a number"):
        numbers(Path("d.csv"), pd.Series([text], index=[7], name="z"))


@pytest.mark.parametrize("text", ["1.5", "", "1e300"])
def test_what_is_no_whole_number_names_its_line(text: str) -> None:
    with pytest.raises(InputError, match=rf"line 7: inline is '{text}'; expected a whole number"):
        whole_numbers(Path("g.csv"), pd.Series(["3", text], index=[6, 7], name="inline"))

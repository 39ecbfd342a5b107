"""`params.yaml`, read in one place and refused as a whole.

An unknown key, a wrong type or an impossible value ends in one `ParameterError` line with the
key's full path. Below the stages the library takes plain arguments; only stages and
`salt.profiles` read this.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from salt.errors import ParameterError
from salt.settings import Params

PARAMS_FILE = Path("params.yaml")


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate the parameters.

    Raises:
        ParameterError: the file is missing or malformed, or a key is unknown, missing,
            mistyped or impossible; the message names its full path.
    """
    return parse_params(read_yaml(path), str(path))


def parse_params(content: dict[str, Any], origin: str = "params") -> Params:
    """Validate parameters already read; `origin` names their file in messages."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParameterError(f"{origin}: {_first_problem(error)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with YAML 1.2 floats, so that `1e-4` is a number.

    Raises:
        ParameterError: no such file, or not a YAML mapping.
    """
    try:
        content = yaml.load(path.read_text(), Loader=_Yaml12Loader)
    except FileNotFoundError:
        raise ParameterError(
            f"{path}: no such file; expected the project's parameters. Run from the project's root."
        ) from None
    except yaml.YAMLError as error:
        raise ParameterError(
            f"{path}: not valid YAML ({' '.join(str(error).split())}). Mend the line it names."
        ) from None
    if not isinstance(content, dict):
        raise ParameterError(
            f"{path}: expected a mapping of sections, got {type(content).__name__}."
        )
    return content


class _Yaml12Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, where `1e-4` is text; DVC writes and reads YAML 1.2."""


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"])) or "parameters"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key. Remove it, or see the keys in the committed params.yaml."
    if problem["type"] == "missing":
        return f"{key}: missing key. Add it, as in the committed params.yaml."
    expected = problem["msg"].removeprefix("Value error, ")
    if problem["loc"] and not isinstance(problem["input"], dict):
        return f"{key}: got {problem['input']!r}; {expected[0].lower()}{expected[1:]}."
    return f"{key}: {expected}."

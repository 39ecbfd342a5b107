"""Apply a profile: `python -m salt.profiles tgs-cpu` overlays profiles/tgs-cpu.yaml on params.yaml.

Every profile starts from `demo`, which names all keys that any profile sets, so that the one
applied before leaves no trace; keys that no profile names keep their value. Comments stay.
Nothing is written unless the result is valid.
"""

import argparse
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.errors import MissingPackageError, ParameterError, reported_errors
from salt.files import write_text
from salt.params import PARAMS_FILE, parse_params, read_yaml

PROFILES = Path("profiles")
BASE = "demo"  # the committed parameters
COMMENT_COLUMN = 31  # where params.yaml's comments start, unless the value is longer


def apply_profile(
    name: str, params_file: Path = PARAMS_FILE, profiles: Path = PROFILES
) -> list[str]:
    """Set the parameters' file to a profile; return one line per changed value.

    Raises:
        ParameterError: no profile of that name, or the result is not valid.
        MissingPackageError: ruamel.yaml, which comes with DVC, is missing.
    """
    profile = profiles / f"{name}.yaml"
    if name not in known_profiles(profiles):
        known = ", ".join(known_profiles(profiles)) or f"none in {profiles}/"
        raise ParameterError(f"unknown profile {name!r}; expected one of: {known}.")
    before, overlays = read_yaml(params_file), [profiles / f"{BASE}.yaml", profile]
    overlays = [path for path in overlays if path.exists()]
    after = before
    for overlay in overlays:
        after = merged(after, read_yaml(overlay))
    parse_params(after, f"{profile} over {params_file}")
    changes = differences(before, after)
    if changes:
        text = params_file.read_text()
        for overlay in overlays:
            text = _edited(text, overlay.read_text())
        write_text(params_file, text)
    return changes


def known_profiles(profiles: Path = PROFILES) -> list[str]:
    """Return the names of all profiles, sorted."""
    return sorted(path.stem for path in profiles.glob("*.yaml"))


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the overlay's keys; mappings merge, everything else is replaced."""
    result = dict(base)
    for key, value in overlay.items():
        inner = base.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        result[key] = merged(inner, value) if both and inner is not None else value
    return result


def differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[str]:
    """Return `section.key: old -> new` for every value that differs."""
    lines: list[str] = []
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            lines += differences(old, value, f"{path}{key}.")
        elif old != value:
            lines.append(f"{path}{key}: {old} -> {value}")
    return lines


def _edited(text: str, overlay: str) -> str:
    """Return the YAML text with the overlay's values, comments and layout kept."""
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise MissingPackageError(
            "ruamel.yaml is not installed; it keeps the comments of params.yaml. "
            "Install it (it comes with dvc) and apply the profile again."
        ) from error
    yaml = YAML()
    yaml.width = 4096  # never break a line that was not broken
    document = yaml.load(text)
    _overwrite(document, yaml.load(overlay))
    stream = io.StringIO()
    yaml.dump(document, stream)
    kept = set(text.splitlines())
    lines = stream.getvalue().splitlines()
    return "".join(f"{line if line in kept else _aligned(line)}\n" for line in lines)


def _aligned(line: str) -> str:
    """Put a line's comment back in its column, which a longer value had pushed to the right."""
    parts = re.fullmatch(r"(.*?\S)\s+(# .*)", line)
    if parts is None:
        return line
    value, comment = parts.groups()
    return f"{value:<{COMMENT_COLUMN - 2}}  {comment}"


def _overwrite(document: Any, overlay: Any) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            _overwrite(document[key], value)
        else:
            document[key] = value


def main() -> None:
    """Apply the profile named on the command line and print what changed."""
    parser = argparse.ArgumentParser(prog="python -m salt.profiles", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(known_profiles())}")
    name = parser.parse_args().name
    changes = apply_profile(name)
    print("\n".join(changes) or f"{PARAMS_FILE} already is the profile {name}")
    print("now run: dvc repro")


if __name__ == "__main__":
    with reported_errors():
        main()

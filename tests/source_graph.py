"""Read the project's sources without running them: who imports whom, which keys a stage reads."""

import ast
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def salt_files() -> list[Path]:
    """Every source file of the library, relative to the project."""
    return sorted(path.relative_to(PROJECT) for path in (PROJECT / "salt").rglob("*.py"))


def stage_files() -> list[Path]:
    """Every stage script, relative to the project."""
    found = (PROJECT / "stages").glob("*.py")
    return sorted(path.relative_to(PROJECT) for path in found if path.name != "__init__.py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((PROJECT / path).read_text())


def module_of(path: Path) -> str:
    """`salt/models/encoder.py` is `salt.models.encoder`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_of(module: str) -> Path | None:
    """The file of a module of this project, None for any other name."""
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (PROJECT / candidate).is_file():
            return candidate
    return None


def imported_names(path: Path, top_level_only: bool = False) -> set[str]:
    """Every dotted name a file imports, e.g. `salt.files` and `salt.files.write_csv`."""
    tree = parsed(path)
    names: set[str] = set()
    for node in _outside_functions(tree) if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _outside_functions(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


def imported_files(path: Path, top_level_only: bool = False) -> set[Path]:
    """The project's own files among a file's imports, empty `__init__.py` left out."""
    found = {file_of(name) for name in imported_names(path, top_level_only)}
    return {file for file in found if file is not None and file.name != "__init__.py"}


def reachable_files(path: Path, top_level_only: bool = False) -> set[Path]:
    """The project's own files that importing (and running) a file can reach."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        new = imported_files(waiting.pop(), top_level_only) - seen
        seen |= new
        waiting += new
    return seen


def parameters_read(path: Path, sections: set[str]) -> set[str]:
    """The parameters a stage reads: `train.epochs`, or `train` where it takes the whole section.

    Follows `params.train.epochs`, `settings = params.train` with `settings.epochs`, and
    `params.model_dump(include={...})`. Where a key is not spelt out (`getattr(params, name)`)
    every section the file names as text counts as read whole.
    """
    tree = parsed(path)
    aliases = {"params": ""} | _section_aliases(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    read: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            read |= _key(node, aliases)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            if getattr(node.args[0], "id", "") == "params":
                read |= sections & _texts(tree)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "params.model_dump":
            read |= {name for word in node.keywords for name in _texts(word.value)}
    return read | _sections_passed_on(tree, aliases)


def _section_aliases(tree: ast.Module) -> dict[str, str]:
    """Names bound to a section: `settings, model = params.pretrain, params.model`."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        pairs = zip(target.elts, value.elts, strict=True) if both else [(target, value)]
        for name, section in pairs:
            if isinstance(name, ast.Name) and ast.unparse(section).startswith("params."):
                aliases[name.id] = ast.unparse(section).removeprefix("params.")
    return {name: section for name, section in aliases.items() if section.isidentifier()}


def _key(node: ast.Attribute, aliases: dict[str, str]) -> set[str]:
    """The key of one dotted access, `{}` if it starts elsewhere."""
    root, *parts = ast.unparse(node).split(".")
    if root not in aliases or not all(part.isidentifier() for part in parts):
        return set()
    full = [*filter(None, [aliases[root]]), *parts]
    if full[-1] == "model_dump":
        full.pop()
    return {".".join(full[:2])} if full else set()


def _sections_passed_on(tree: ast.Module, aliases: dict[str, str]) -> set[str]:
    """Sections handed whole to a call under their local name: `build(model)`."""
    handed = {
        value.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for value in [*call.args, *(word.value for word in call.keywords)]
        if isinstance(value, ast.Name)
    }
    return {aliases[name] for name in handed & aliases.keys() if aliases[name]}


def _texts(node: ast.AST) -> set[str]:
    found = (child.value for child in ast.walk(node) if isinstance(child, ast.Constant))
    return {value for value in found if isinstance(value, str)}

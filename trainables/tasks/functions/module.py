"""Imports the user's module by its path, under a name of its own, and returns its functions.

The module can import other modules from its folder, as a script can.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from strictune.errors import SpecError, did_you_mean
from trainables.tasks.jsonl import error_line

__all__ = ["load_functions", "source_files"]


def load_functions(path: Path, names: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Import the module at ``path`` and return the named functions.

    Raises:
        SpecError: The file does not exist, cannot be imported, or lacks a function.
    """
    module = _imported(path)
    functions = {}
    for name in names:
        found = getattr(module, name, None)
        if not callable(found):
            known = [
                other
                for other, value in vars(module).items()
                if callable(value) and not other.startswith("_") and not isinstance(value, type)
            ]
            raise SpecError(
                f"{path}: has no function {name}, expected one of {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
            )
        functions[name] = found
    return functions


def source_files(path: Path) -> list[Path]:
    """Return the module's file and the files of its folder that it imports, by name.

    Raises:
        SpecError: A file does not exist or is not valid Python.
    """
    found: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file.name in found:
            continue
        found[file.name] = file
        for name in _imports(file):
            beside = path.parent / f"{name}.py"
            if beside.exists():
                waiting.append(beside)
    return [found[name] for name in sorted(found)]


def _imports(file: Path) -> set[str]:
    """Return the top-level names of the modules that a file imports."""
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except FileNotFoundError as error:
        raise SpecError(
            f"task.module = {file}: no such file, beside the sweep file or in {Path.cwd()}."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise SpecError(f"task.module = {file}: cannot be read as Python ({error}).") from error
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _imported(path: Path) -> ModuleType:
    source_files(path)
    place = path.resolve()
    name = f"reward_functions_{place.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(place):
        return known
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(place.parent) not in sys.path:
        sys.path.append(str(place.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SpecError(
            f"task.module = {path}: cannot be imported ({error_line(error)}). Every "
            "worker imports it: put code that starts a training behind "
            "if __name__ == '__main__':."
        ) from error
    return module

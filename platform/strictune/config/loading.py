"""Reads sweep and trial files, with ``--set`` on top; an error lists every problem of a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from strictune.addresses import without_password
from strictune.config.base import Problem, Spec
from strictune.config.expansion import expand_or_explain
from strictune.config.hints import explain
from strictune.config.search_checks import search_problems
from strictune.config.sweep import MATRIX_KEYS, SweepSpec
from strictune.config.trial import TrialSpec, TrialTemplate
from strictune.config.yaml_text import parse_yaml
from strictune.errors import SpecError, did_you_mean
from trainables.tasks import BROKEN, TASKS

__all__ = ["apply_overrides", "cell_trial", "load_sweep", "load_trial", "parse_override"]

S = TypeVar("S", bound=Spec)


class Override(NamedTuple):
    """One value and where it goes."""

    path: tuple[str, ...]
    value: Any
    text: str
    """As it was written on the command line."""

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(self.path)

    def covers(self, key: str) -> bool:
        """Say whether the value at ``key``, or a part of it, comes from this override."""
        return f"{key}.".startswith(f"{self.key}.") or f"{self.key}.".startswith(f"{key}.")


def load_sweep(path: Path | str, overrides: Sequence[str] = ()) -> SweepSpec:
    """Read a sweep file, put ``overrides`` (``trial.grpo.beta=0.02``) on top, check every cell.

    Raises:
        SpecError: the file cannot be read or run as written; one line for each problem.
    """
    data = _read(Path(path))
    parsed = [parse_override(text) for text in overrides]
    apply_overrides(data, parsed)
    _find_files(data.get("task"), folder=Path(path).parent)
    sweep = _validate(SweepSpec, data, where=str(path), overrides=parsed)
    expansion = expand_or_explain(sweep)
    problems = expansion.problems or search_problems(sweep, expansion.trials)
    _stop(problems, where=str(path), overrides=parsed)
    return sweep


def load_trial(path: Path | str) -> TrialSpec:
    """Read a ``trial.yaml``.

    Raises:
        SpecError: the file cannot be read or is no resolved trial.
    """
    return _validate(TrialSpec, _read(Path(path)), where=str(path), overrides=())


def parse_override(text: str) -> Override:
    """Read ``a.b=c``; ``c`` is YAML. ``grpo.beta`` is short for ``trial.grpo.beta``.

    Raises:
        SpecError: ``text`` has no key, or its value is not YAML.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise SpecError(f"--set {text}: expected KEY=VALUE, e.g. --set trial.grpo.beta=0.02.")
    if path[0] not in SweepSpec.model_fields and path[0] in TrialTemplate.model_fields:
        path = ("trial", *path)
    return Override(path=path, value=parse_yaml(value, where=f"--set {text}"), text=text)


def apply_overrides(data: dict[str, Any], overrides: Sequence[Override]) -> None:
    """Put ``overrides`` into ``data``, in order; a key that is new appears, a list is replaced.

    Raises:
        SpecError: a key leads through a value that has no keys, or names what the matrix varies.
    """
    for override in overrides:
        parent: Any = data
        for depth, part in enumerate(override.path[:-1], start=1):
            parent = _child(parent, part, override=override, depth=depth)
        last = override.path[-1]
        if isinstance(parent, list):
            parent[_index(parent, last, override=override)] = override.value
        else:
            parent[last] = override.value
    for override in overrides:
        _refuse_hidden(data, override)


def cell_trial(config: Mapping[str, Any], *, where: str) -> TrialSpec:
    """Return a trial of a cell from the settings that its sweep's folder holds.

    Raises:
        SpecError: They cannot be used, as those of another version; one line for each problem.
    """
    return _validate(TrialSpec, {**config, "seed": 0}, where=where, overrides=())


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = did_you_mean(path.name, (found.name for found in path.parent.glob("*.yaml")))
        raise SpecError(f"{path}: no such file.{hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as UTF-8 text: {error}.") from error
    data = parse_yaml(text, where=str(path))
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise SpecError(f"{path}: found {found}, expected a mapping of keys to values.")
    # A value behind two aliases becomes two values, so that an override changes one of them.
    try:
        unshared: dict[str, Any] = json.loads(json.dumps(data))
    except ValueError as error:
        raise SpecError(f"{path}: an alias (*name) contains itself; write it out.") from error
    return unshared


def _find_files(task: Any, *, folder: Path) -> None:
    """Resolve, in place, the paths in a task's settings, which are relative to the sweep file.

    Below the working directory paths stay relative to it: workers on other machines run in a copy.
    """
    settings = TASKS.get(str(task.get("kind"))) if isinstance(task, dict) else None
    for key in settings.paths if settings else ():
        given = task.get(key)
        beside = folder / given if isinstance(given, str) else None
        if beside is not None and beside.exists():
            place, here = beside.resolve(), Path.cwd()
            is_below = place.is_relative_to(here)
            task[key] = str(place.relative_to(here) if is_below else place)


def _validate(
    spec_class: type[S], data: dict[str, Any], *, where: str, overrides: Sequence[Override]
) -> S:
    kind = task.get("kind") if isinstance(task := data.get("task"), dict) else None
    if isinstance(kind, str) and kind in BROKEN:
        raise SpecError(f"{where}: {BROKEN[kind]}")
    # Strict JSON mode: no text passes for a number and no "yes" for true, while lists may
    # still become tuples.
    try:
        return spec_class.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems = explain(error, data=data, schema=spec_class.model_json_schema())
        _stop(problems, where=where, overrides=overrides)
        raise


def _stop(problems: Sequence[Problem], *, where: str, overrides: Sequence[Override]) -> None:
    lines = []
    for problem in problems:
        origin = next((o.text for o in overrides if o.covers(problem.key)), None)
        place = f"--set {without_password(origin)}" if origin else where
        lines.append(f"{place}: {problem.key} {problem.text}")
    if lines:
        raise SpecError("\n".join(lines))


def _child(parent: Any, part: str, *, override: Override, depth: int) -> Any:
    if isinstance(parent, list):
        child = parent[_index(parent, part, override=override)]
    else:
        child = parent.get(part)
        if child is None:
            child = parent[part] = {}
    if not isinstance(child, dict | list):
        key = ".".join(override.path[:depth])
        raise SpecError(f"--set {override.text}: {key} = {child} has no keys below it.")
    return child


def _index(items: list[Any], part: str, *, override: Override) -> int:
    if not items:
        raise SpecError(f"--set {override.text}: the list before {part} has no positions.")
    if not (part.isascii() and part.isdigit() and int(part) < len(items)):
        raise SpecError(
            f"--set {override.text}: {part} is not a position in a list of {len(items)}, "
            f"expected 0 to {len(items) - 1}."
        )
    return int(part)


def _refuse_hidden(data: Mapping[str, Any], override: Override) -> None:
    """Refuse a value below ``trial`` that the matrix replaces in every cell."""
    if len(override.path) != 2 or override.path[0] != "trial":
        return
    name = override.path[1]
    matrix = data.get("matrix")
    if name in MATRIX_KEYS and isinstance(matrix, dict) and matrix.get(name) is not None:
        raise SpecError(
            f"--set {override.text}: every cell takes {name} from matrix.{name} = "
            f"{json.dumps(matrix[name])}. Set matrix.{name} to a list, or pick cells with "
            f"--only {name}=VALUE."
        )

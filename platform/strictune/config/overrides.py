"""``--set a.b=c``: values from the command line, put on top of a sweep file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from strictune.config.sweep import MATRIX_KEYS, SweepSpec
from strictune.config.trial import TrialTemplate
from strictune.config.yaml_text import parse_yaml
from strictune.errors import SpecError

__all__ = ["Override", "apply_overrides", "parse_override"]


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

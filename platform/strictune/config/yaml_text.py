"""Reads and writes YAML with the core types of YAML 1.2; duplicate keys are refused.

PyYAML's own loader follows YAML 1.1, where ``1e-4`` is a text, ``no`` is false, ``010`` is
eight and the second of two equal keys wins in silence. Left out: dates, binary, merge keys
and every other tag; a sweep file needs none of them.
"""

import re
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from strictune.config.base import Spec
from strictune.errors import SpecError

__all__ = ["dump_yaml", "parse_yaml"]

_TAG = "tag:yaml.org,2002:"

_CORE_SCALARS = {
    f"{_TAG}null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    f"{_TAG}bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    f"{_TAG}int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    f"{_TAG}float": (
        re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
        list("-+.0123456789"),
    ),
}
"""The plain scalars that are not text: their form, and the characters they start with."""


def _construct_bool(loader: yaml.SafeLoader, node: ScalarNode) -> bool:
    return str(loader.construct_scalar(node)).lower() == "true"


def _construct_int(loader: yaml.SafeLoader, node: ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _construct_float(loader: yaml.SafeLoader, node: ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)))


class _CoreLoader(yaml.SafeLoader):
    """Scalars of YAML 1.2's core schema, mappings with distinct text keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  an instance variable in the stubs
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        f"{_TAG}null": yaml.SafeLoader.construct_yaml_null,
        f"{_TAG}bool": _construct_bool,
        f"{_TAG}int": _construct_int,
        f"{_TAG}float": _construct_float,
        f"{_TAG}str": yaml.SafeLoader.construct_yaml_str,
        f"{_TAG}seq": yaml.SafeLoader.construct_yaml_seq,
        f"{_TAG}map": yaml.SafeLoader.construct_yaml_map,
        None: yaml.SafeLoader.construct_undefined,
    }

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in _pairs(node):
            if key.tag != f"{_TAG}str":
                reason = "keys must be text; put quotes around this one"
                raise ConstructorError(None, None, reason, key.start_mark)
            if key.value in seen:
                reason = f"the key {key.value} appears twice"
                raise ConstructorError(None, None, reason, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: MappingNode) -> None:
        """Leave ``<<`` as it is: an unknown key, reported as such."""


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    return node.value if isinstance(node, MappingNode) else []


class _CoreDumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


for _tag, (_form, _first) in _CORE_SCALARS.items():
    _CoreLoader.add_implicit_resolver(_tag, _form, _first)
    _CoreDumper.add_implicit_resolver(_tag, _form, _first)


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse one YAML document into plain Python values.

    Raises:
        SpecError: ``text`` is not one YAML document; the message has its line.
    """
    try:
        return yaml.load(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{where}{line}: not valid YAML: {error.problem}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpecError(f"{where}: not valid YAML: {reason}.") from error


def dump_yaml(spec: Spec) -> str:
    """Return ``spec`` as YAML text with every value written out, in the order of its fields."""
    values = spec.model_dump(mode="json")
    return yaml.dump(values, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True)

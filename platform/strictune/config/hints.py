"""Turns pydantic's errors into messages about a sweep file.

Each error becomes a ``Problem``: the dotted key, what was found, what is allowed, and for
an unknown key the closest known one. What is allowed is read from the JSON Schema of the
spec, so that no field describes itself twice.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from strictune.config.base import PROBLEMS, Problem
from strictune.config.yaml_text import parse_yaml
from strictune.errors import SpecError

__all__ = ["describe", "explain"]

Schema = Mapping[str, Any]

MAX_FOUND_CHARS = 60

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "object": "a mapping of keys to values",
    "null": "null",
}


def explain(error: ValidationError, *, data: Any, schema: Schema) -> list[Problem]:
    """Return the problems of the file that held ``data``, one for each error of ``error``."""
    found: dict[Problem, None] = {}
    items = error.errors(include_url=False)
    for item in items:
        if item["type"] == "too_short" and any(_is_inside(other, item) for other in items):
            continue  # Perhaps only because its items failed, which are reported themselves.
        if "literal[" in str(item["loc"][-1:]) and isinstance(item["input"], dict):
            continue  # A word in place of a mapping, whose keys are reported themselves.
        for problem in _explain_one(item, data=data, schema=schema):
            found[problem] = None
    return list(found)


def _is_inside(item: ErrorDetails, other: ErrorDetails) -> bool:
    return item is not other and item["loc"][: len(other["loc"])] == other["loc"]


def describe(node: Schema, schema: Schema) -> str:
    """Describe what a node of ``schema`` allows, e.g. ``a whole number of 1 or more``."""
    node = _deref(node, schema)
    choices = node.get("anyOf") or node.get("oneOf")
    if "discriminator" in node:
        return _TYPES["object"]  # Which keys there are depends on the kind.
    if choices:
        words = dict.fromkeys(describe(choice, schema) for choice in choices)
        return ", or ".join(words)
    if "const" in node:
        return _text(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(_text(value) for value in node["enum"])
    if node.get("type") == "array":
        return _describe_array(node, schema)
    if node.get("properties"):
        return f"a mapping with keys among {', '.join(node['properties'])}"
    kind = _TYPES.get(node.get("type", ""), "a value")
    return kind + _describe_limits(node)


def _describe_array(node: Schema, schema: Schema) -> str:
    least = node.get("minItems", 0)
    length = f" with at least {'one value' if least == 1 else f'{least} values'}" if least else ""
    items = node.get("items")
    return f"a list{length}" + (f", each {describe(items, schema)}" if items else "")


def _describe_limits(node: Schema) -> str:
    limits = _describe_bounds(node)
    return f"{limits}, a multiple of {node['multipleOf']:g}" if "multipleOf" in node else limits


def _describe_bounds(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:.0f}"
    parts = []
    if low is not None:
        parts.append(f"of {low:g} or more")
    if "exclusiveMinimum" in node:
        parts.append(f"above {node['exclusiveMinimum']:g}")
    if high is not None:
        parts.append(f"at most {high:g}")
    if "exclusiveMaximum" in node:
        parts.append(f"below {node['exclusiveMaximum']:g}")
    if "pattern" in node:
        parts.append(f"that matches {node['pattern']}")
    if node.get("minLength"):
        parts.append("that is not empty")
    return f" {' and '.join(parts)}" if parts else ""


def _explain_one(item: ErrorDetails, *, data: Any, schema: Schema) -> Iterator[Problem]:
    path = _path_in(data, item["loc"])
    key = ".".join(map(str, path))
    node = _node_at(path, data=data, schema=schema)
    if item["type"] == PROBLEMS:
        for problem in item["ctx"][PROBLEMS]:
            yield problem._replace(key=".".join(part for part in (key, problem.key) if part))
    elif item["type"] == "extra_forbidden":
        yield Problem(key, _unknown_key(path, data=data, schema=schema))
    elif item["type"] == "missing":
        yield Problem(key, f"is missing, expected {_expected(node, schema)}")
    elif item["type"] == "value_error":
        yield Problem(key, str(item["ctx"]["error"]))
    elif item["loc"][-1:] == ("[key]",):
        yield Problem(key, f"is not a name that matches {item['ctx']['pattern']}.")
    elif item["type"].startswith("union_tag"):
        yield _unknown_kind(key, item, node=node, schema=schema)
    else:
        found = _text(item["input"]) + _misread(item["input"], node, schema)
        yield Problem(key, f"= {found}, expected {_expected(node, schema)}")


def _misread(value: Any, node: Schema, schema: Schema) -> str:
    """Say how to change a value that has only the wrong type, such as a number in quotes."""
    allowed = set(_kinds(node, schema))
    if not isinstance(value, str):
        kind = _kind(value)
        is_text = "string" in allowed and kind in ("boolean", "integer", "number")
        return f" ({_TYPES[kind]}, not a text: put quotes around it)" if is_text else ""
    try:
        meant = _kind(parse_yaml(value, where=""))
    except SpecError:
        return ""
    if meant == "string" or not {meant, "number" if meant == "integer" else meant} & allowed:
        return ""
    return " (a text, because of the quotes around it: remove them)"


def _kinds(node: Schema, schema: Schema) -> Iterator[str]:
    """Yield the JSON types that a node allows; an enumeration has none."""
    for option in _options(node, schema):
        if option is not node and ("anyOf" in option or "oneOf" in option):
            yield from _kinds(option, schema)
        elif "const" not in option and "enum" not in option:
            yield option.get("type", "object")


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else kinds.get(type(value), "object")


def _expected(node: Schema, schema: Schema) -> str:
    """Return what a key allows, followed by its description."""
    purpose = node.get("description") or _deref(node, schema).get("description", "")
    meaning = " ".join(purpose.replace("``", "").split())
    return f"{describe(node, schema)}. {meaning}".strip()


def _unknown_kind(key: str, item: ErrorDetails, *, node: Schema, schema: Schema) -> Problem:
    mapping = _deref(node, schema).get("discriminator", {}).get("mapping", {})
    tag = item["ctx"].get("tag")
    found = f"= {tag}" if tag is not None else "is missing"
    return Problem(f"{key}.kind", f"{found}, expected one of {', '.join(mapping)}.")


def _unknown_key(path: Sequence[str | int], *, data: Any, schema: Schema) -> str:
    name = str(path[-1])
    parent = _node_at(path[:-1], data=data, schema=schema)
    siblings = list(_properties(parent, schema, data=reduce(_child_data, path[:-1], data)))
    elsewhere = [
        dotted
        for dotted in _all_keys(schema, schema, data=data)
        if dotted.split(".")[-1] == name
        and dotted != ".".join(map(str, path))
        # What a search changes stands in its lists, by name, and not as a block.
        and (path[0] != "search" or dotted.startswith("search."))
    ]
    meant = [*difflib.get_close_matches(name, siblings, n=1), *elsewhere]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    return f"is not a known key, expected one of {', '.join(siblings)}.{hint}"


def _path_in(data: Any, loc: Sequence[str | int]) -> list[str | int]:
    """Return a location without what pydantic adds: tags of unions, names of validators."""
    path: list[str | int] = []
    node = data
    for index, part in enumerate(loc):
        is_last = index == len(loc) - 1
        if _holds(node, part):
            node = node[part]
        elif not (is_last and isinstance(node, dict)) or part == node.get("kind"):
            continue
        path.append(part)
    return path


def _holds(node: Any, part: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node


def _node_at(path: Sequence[str | int], *, data: Any, schema: Schema) -> Schema:
    node: Schema = schema
    for part in path:
        node = _child_node(node, part, data=data, schema=schema)
        data = _child_data(data, part)
    return node


def _child_node(node: Schema, part: str | int, *, data: Any, schema: Schema) -> Schema:
    for option in _options(node, schema, data=data):
        if part in option.get("properties", {}):
            return dict(option["properties"][part])
        if isinstance(part, int) and "items" in option:
            return dict(option["items"])
        named = [*option.get("patternProperties", {}).values(), option.get("additionalProperties")]
        if isinstance(named[0], dict):
            return dict(named[0])
    return {}


def _child_data(data: Any, part: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int):
        return data[part]
    return None


def _options(node: Schema, schema: Schema, *, data: Any = None) -> list[Schema]:
    node = _deref(node, schema)
    mapping = node.get("discriminator", {}).get("mapping", {})
    kind = data.get("kind") if isinstance(data, dict) else None
    if isinstance(kind, str) and kind in mapping:
        return [_deref({"$ref": mapping[kind]}, schema)]
    choices = node.get("anyOf") or node.get("oneOf")
    return [_deref(choice, schema) for choice in choices] if choices else [node]


def _properties(node: Schema, schema: Schema, *, data: Any = None) -> dict[str, Schema]:
    return {
        name: child
        for option in _options(node, schema, data=data)
        for name, child in option.get("properties", {}).items()
    }


def _all_keys(node: Schema, schema: Schema, *, data: Any, prefix: str = "") -> Iterator[str]:
    """Yield all dotted keys, of tasks those of the kind that ``data`` has."""
    for name, child in _properties(node, schema, data=data).items():
        yield f"{prefix}{name}"
        yield from _all_keys(child, schema, data=_child_data(data, name), prefix=f"{prefix}{name}.")


def _deref(node: Schema, schema: Schema) -> Schema:
    while "$ref" in node:
        target = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _text(value: Any) -> str:
    is_plain = isinstance(value, str) and value.isprintable() and value.strip() == value != ""
    text = value if is_plain else json.dumps(value, ensure_ascii=isinstance(value, str))
    return text if len(text) <= MAX_FOUND_CHARS else f"{text[:MAX_FOUND_CHARS]}..."

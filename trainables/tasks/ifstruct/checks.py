"""The checks of IFStruct: whether a response to a request for JSON has the requested shape.

They follow the benchmark's own validator (Liquid AI, IFStruct v1.0, 2026), even where strict_json
differs: a fence is required only if the request says so, a key that the schema does not name is
always an error, and only types, ``required``, ``enum``, bounds and numbers of items are checked.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator

__all__ = ["CRITERIA", "Request", "Verdict", "judge"]

CRITERIA = ("parsed", "framed", "shaped", "passed")
"""``parsed``: JSON was found. ``framed``: fence and commentary are as requested. ``shaped``:
wrapper key and number of items are as requested. ``passed``: every item matches the schema."""

_FENCE = "```"
_OPENED = re.compile(r"<think>|\[think\]", re.IGNORECASE)
_CLOSED = {
    "<": re.compile(r"</think>", re.IGNORECASE),
    "[": re.compile(r"\[/think\]", re.IGNORECASE),
}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "object": dict,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
}


def _decoded(value: Any) -> Any:
    """Decode a field that the hub's copy of the data holds as JSON text."""
    return json.loads(value) if isinstance(value, str) else value


class Request(BaseModel):
    """What a row asks for; fields are named as in the data."""

    json_schema: Annotated[dict[str, Any], BeforeValidator(_decoded)]
    """The JSON Schema of the list of items."""
    top_level_count: Annotated[int | tuple[int, int] | None, BeforeValidator(_decoded)]
    """The number of items: exact, or minimum and maximum."""
    top_level_key: str | None
    require_wrapper_key: bool
    require_code_block: bool
    require_no_commentary: bool


class Verdict(NamedTuple):
    """The result for one response."""

    level: int
    """The number of ``CRITERIA`` that hold, counted from the first."""
    error: str
    """``ok``, or the first fault."""
    where: str = ""
    """A JSON pointer into the list, if the schema is violated."""


class _Found(NamedTuple):
    document: Any
    error: str
    is_fenced: bool


def judge(response: str, request: Request) -> Verdict:
    """Check a response against a request; never raises."""
    text = _without_thinking(response)
    found = _read(text)
    if found.error:
        return Verdict(0, found.error)
    if request.require_code_block and not found.is_fenced:
        return Verdict(1, "no_fence")
    if request.require_no_commentary and found.is_fenced and _has_commentary(text):
        return Verdict(1, "text_outside")
    items, error = _unwrapped(found.document, request)
    if error:
        return Verdict(2, error)
    if isinstance(items, list) and not _is_count(len(items), request.top_level_count):
        return Verdict(2, "wrong_count")
    for error, where in _errors(items, request.json_schema, ""):
        return Verdict(3, error, where)
    return Verdict(4, "ok")


def _without_thinking(text: str) -> str:
    """Remove closed think blocks, then all up to a closing tag, then all from an opening tag."""
    kept, position = [], 0
    unclosed = set[str]()
    for opened in _OPENED.finditer(text):
        kind = opened.group()[0]
        if opened.start() < position or kind in unclosed:
            continue
        closed = _CLOSED[kind].search(text, opened.end())
        if closed is None:
            unclosed.add(kind)
        else:
            kept.append(text[position : opened.start()])
            position = closed.end()
    text = "".join(kept) + text[position:]
    closed = _CLOSED["<"].search(text) or _CLOSED["["].search(text)
    text = text[closed.end() :] if closed else text
    opened_again = _OPENED.search(text)
    return text[: opened_again.start() if opened_again else len(text)].strip()


def _read(text: str) -> _Found:
    """Parse the first fenced block, whose fences start lines, or else the whole text."""
    lines = text.splitlines()
    fences = [index for index, line in enumerate(lines) if line.startswith(_FENCE)]
    if not fences:
        is_json = text.startswith(("[", "{"))
        return _parsed(text, is_fenced=False) if is_json else _Found(None, "no_json", False)
    if len(fences) == 1:
        return _Found(None, "truncated", False)
    first, last = fences[:2]
    if lines[first].lower().startswith(("```yaml", "```yml")):
        return _Found(None, "other_fence", True)
    return _parsed("\n".join(lines[first + 1 : last]), is_fenced=True)


def _parsed(text: str, *, is_fenced: bool) -> _Found:
    try:
        return _Found(json.loads(text), "", is_fenced)
    except (ValueError, RecursionError):
        return _Found(None, "parse_error", is_fenced)


def _has_commentary(text: str) -> bool:
    """Whether text stands before the first or after the last back-ticks."""
    before, _, rest = text.partition(_FENCE)
    return bool(before.strip() or rest.rpartition(_FENCE)[2].strip())


def _unwrapped(document: Any, request: Request) -> tuple[Any, str]:
    """Return the list of items, and the error class of the key around it, if any."""
    if isinstance(document, list):
        return document, "no_wrapper_key" if request.require_wrapper_key else ""
    if not isinstance(document, dict) or len(document) != 1:
        return document, ""
    [(key, items)] = document.items()
    if not isinstance(items, list):
        return document, ""
    if not request.require_wrapper_key:
        return items, "wrapper_key"
    return items, "" if request.top_level_key in (None, key) else "wrong_wrapper_key"


def _is_count(count: int, wanted: int | tuple[int, int] | None) -> bool:
    if wanted is None:
        return True
    return count == wanted if isinstance(wanted, int) else wanted[0] <= count <= wanted[1]


def _errors(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield the faults of a value, each with a JSON pointer."""
    kind = schema.get("type")
    if isinstance(kind, list):
        others = [name for name in kind if name != "null"]
        if value is None and "null" in kind:
            return
        kind = others[0] if len(others) == 1 else None
    is_type = _is_type(value, kind)
    if not is_type:
        yield "wrong_type", path
    if kind in ("array", "object"):
        inside = _array_errors if kind == "array" else _object_errors
        yield from inside(value, schema, path) if is_type else ()
    elif is_type and kind in ("number", "integer") and not _is_in_range(value, schema):
        yield "out_of_range", path
    elif schema.get("enum") is not None and value not in schema["enum"]:
        yield "not_in_enum", path


def _is_type(value: Any, kind: str | None) -> bool:
    if value is None or (isinstance(value, bool) and kind in ("number", "integer")):
        return value is None and kind == "null"
    return isinstance(value, _TYPES.get(str(kind), object))


def _array_errors(
    value: Sequence[Any], schema: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str]]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield "wrong_count", path
    for index, item in enumerate(value if schema.get("items") else ()):
        yield from _errors(item, schema["items"], f"{path}/{index}")


def _object_errors(
    value: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield "missing_key", f"{path}/{name}"
    for name, one in properties.items():
        if name in value:
            yield from _errors(value[name], one, f"{path}/{name}")
    for name in value:
        if name not in properties:
            yield "extra_key", f"{path}/{name}"


def _is_in_range(value: float, schema: Mapping[str, Any]) -> bool:
    low, high = schema.get("minimum"), schema.get("maximum")
    return not ((low is not None and value < low) or (high is not None and value > high))

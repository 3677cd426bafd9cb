"""Compares a document with the expected one, leaf by leaf and as a whole.

Objects are unordered and numbers are equal by value. A leaf is a value that is not a container, or
an empty container, together with its path. If arrays are unordered, paths omit positions.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "ANSWER_MEASURES",
    "CONTENT",
    "CORRECT",
    "MAX_WRONG_CONTENT",
    "NO_DOCUMENT",
    "Answer",
    "Comparison",
    "compare",
]

CORRECT = "correct"
"""The criterion above strict: the document equals the expected one."""
CONTENT = "content"
"""The name of the reward component: F1 over leaves."""
MAX_WRONG_CONTENT = 0.95
"""The most that a document other than the expected one can earn."""

ANSWER_MEASURES = ("content_precision", "content_recall", "content_f1")

NO_DOCUMENT = object()
"""Stands for the document of a completion that has none."""

Path = tuple[str | int, ...]
Leaf = tuple[tuple[tuple[bool, str | int], ...], str, Hashable]
"""A comparable leaf: its path (positions are marked), its kind and its value."""

_ANY = "*"
_KINDS: Mapping[type, str] = {str: "text", bool: "boolean", int: "number", float: "number"}


class Comparison(NamedTuple):
    """The comparison of one document with the expected one."""

    is_equal: bool
    precision: float
    """The share of its leaves that are expected."""
    recall: float
    """The share of the expected leaves that it has."""
    f1: float
    error_class: str
    """``ok``, or the class of the first difference: ``wrong_text``, ``wrong_number``,
    ``wrong_boolean``, ``wrong_value``, ``missing_value`` or ``extra_value``."""
    where: str
    """A JSON pointer to the first difference."""
    fields: Mapping[str, tuple[int, ...]]
    """See ``Score.fields``; ``*`` stands for any position of an array."""


class Answer(NamedTuple):
    """The expected document, and how completions are compared with it."""

    document: object
    ignore: tuple[str, ...] = ()
    any_order: bool = False

    def compared(self, document: object) -> Comparison:
        """Compare a parsed document, or ``NO_DOCUMENT``, with the expected one."""
        return compare(document, self.document, ignore=self.ignore, any_order=self.any_order)


def compare(
    document: object, expected: object, *, ignore: Sequence[str] = (), any_order: bool = False
) -> Comparison:
    """Compare a document with the expected one.

    Args:
        document: The parsed document of a completion, or ``NO_DOCUMENT``.
        expected: The expected document.
        ignore: Keys to ignore everywhere, or JSON pointers, in which ``*`` is any position.
        any_order: Whether arrays are unordered.
    """
    theirs = list(_leaves(expected, ignore, any_order=any_order))
    wanted = Counter(map(_key, theirs))
    if document is NO_DOCUMENT:
        fields = _field_counts({}, wanted)
        return Comparison(False, 0.0, 0.0, 0.0, "missing_value", "", fields)
    ours = list(_leaves(document, ignore, any_order=any_order))
    held = Counter(map(_key, ours))
    num_shared = (held & wanted).total()
    precision = num_shared / held.total() if held else float(not wanted)
    recall = num_shared / wanted.total() if wanted else float(not held)
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    is_equal = held == wanted and (not any_order or _same_arrays(document, expected, ignore))
    error, where = ("ok", "") if is_equal else _first_difference(ours, theirs)
    fields = _field_counts(held, wanted)
    return Comparison(is_equal, precision, recall, f1, error, where, fields)


def _field_counts(
    held: Mapping[Leaf, int], wanted: Mapping[Leaf, int]
) -> dict[str, tuple[int, ...]]:
    """Count the leaves of each field that are right, wrong, missing and extra.

    An extra leaf and a missing leaf at the same path count as one wrong leaf.
    """
    right, unexpected, absent = (defaultdict[Path, int](int) for _ in range(3))
    for leaf in {**wanted, **held}:
        path = tuple(part for _, part in leaf[0])
        shared = min(held.get(leaf, 0), wanted.get(leaf, 0))
        right[path] += shared
        unexpected[path] += held.get(leaf, 0) - shared
        absent[path] += wanted.get(leaf, 0) - shared
    fields: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path, num_right in right.items():
        wrong = min(unexpected[path], absent[path])
        field = _pointer(tuple(_ANY if isinstance(part, int) else part for part in path))
        counts = (num_right, wrong, absent[path] - wrong, unexpected[path] - wrong)
        fields[field] = [sum(pair) for pair in zip(fields[field], counts, strict=True)]
    return {field: tuple(counts) for field, counts in fields.items()}


def _leaves(
    document: object, ignore: Sequence[str], *, any_order: bool
) -> Iterator[tuple[Path, object]]:
    """Yield path and value of each leaf, in order; iterative, since documents may be deep."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if path and ignore and _is_ignored(path, ignore):
            continue
        if isinstance(value, dict) and value:
            waiting += [((*path, key), child) for key, child in reversed(value.items())]
        elif isinstance(value, list) and value:
            children = list(enumerate(value))
            waiting += [
                ((*path, _ANY if any_order else index), child)
                for index, child in reversed(children)
            ]
        else:
            yield path, value


def _is_ignored(path: Path, ignore: Sequence[str]) -> bool:
    pointer = _pointer(path)
    generic = "".join("/*" if isinstance(part, int) else _pointer((part,)) for part in path)
    last = path[-1]
    return any(
        entry in (pointer, generic) if entry.startswith("/") else entry == last for entry in ignore
    )


def _pointer(path: Path) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _key(leaf: tuple[Path, object]) -> Leaf:
    path, value = leaf
    # Positions and keys differ, and so do true and 1; 1 and 1.0 are one number.
    places = tuple((isinstance(part, int), part) for part in path)
    kind = _KINDS.get(type(value), type(value).__name__)
    return places, kind, None if isinstance(value, dict | list) else value


def _same_arrays(document: object, expected: object, ignore: Sequence[str]) -> bool:
    """Return whether documents with equal leaves are equal up to the order of arrays."""
    try:
        return bool(_sorted(document, ignore) == _sorted(expected, ignore))
    except RecursionError:
        return False  # Nested hundreds of levels deep; no expected document is.


def _sorted(value: Any, ignore: Sequence[str], path: Path = ()) -> Any:
    """Return a document with all arrays sorted, for comparison."""
    if isinstance(value, dict):
        kept = {
            key: _sorted(child, ignore, (*path, key))
            for key, child in value.items()
            if not _is_ignored((*path, key), ignore)
        }
        return tuple(sorted(kept.items()))
    if isinstance(value, list):
        return (
            "array",
            *sorted([_sorted(item, ignore, (*path, _ANY)) for item in value], key=repr),
        )
    is_whole = isinstance(value, float) and value.is_integer()
    return _KINDS.get(type(value), ""), int(value) if is_whole else value


def _first_difference(
    ours: Sequence[tuple[Path, object]], theirs: Sequence[tuple[Path, object]]
) -> tuple[str, str]:
    held, wanted = Counter(map(_key, ours)), Counter(map(_key, theirs))
    paths = {path for path, _ in ours}
    for path, value in theirs:
        if held[_key((path, value))] < wanted[_key((path, value))]:
            if path not in paths:
                return "missing_value", _pointer(path)
            return f"wrong_{_KINDS.get(type(value), 'value')}", _pointer(path)
    for path, value in ours:
        if wanted[_key((path, value))] < held[_key((path, value))]:
            return "extra_value", _pointer(path)
    return "wrong_value", ""

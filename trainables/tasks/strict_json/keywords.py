"""Predicates of single keywords.

Cheap checks run in Python; equality, patterns and formats are left to the validator, so that a
keyword means the same in a grade as in the verdict.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from trainables.tasks.strict_json.validation import Predicate, keyword_check

__all__ = ["python_types", "type_check", "value_checks"]

_DRAFT_04_FLAGS = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}


def _at_least(limit: float) -> Predicate:
    return lambda value: type(value) not in (int, float) or value >= limit  # type: ignore[operator]


def _at_most(limit: float) -> Predicate:
    return lambda value: type(value) not in (int, float) or value <= limit  # type: ignore[operator]


def _above(limit: float) -> Predicate:
    return lambda value: type(value) not in (int, float) or value > limit  # type: ignore[operator]


def _below(limit: float) -> Predicate:
    return lambda value: type(value) not in (int, float) or value < limit  # type: ignore[operator]


def _no_shorter(limit: float) -> Predicate:
    return lambda value: not isinstance(value, str) or len(value) >= limit


def _no_longer(limit: float) -> Predicate:
    return lambda value: not isinstance(value, str) or len(value) <= limit


_IN_PYTHON: dict[str, Callable[[float], Predicate]] = {
    "minimum": _at_least,
    "maximum": _at_most,
    "exclusiveMinimum": _above,
    "exclusiveMaximum": _below,
    "minLength": _no_shorter,
    "maxLength": _no_longer,
}
_ASKED = ("pattern", "format", "multipleOf")
_ABOUT_VALUES = frozenset({*_IN_PYTHON, *_ASKED, "enum", "const"})
_STRICT: dict[str, Callable[[float], Predicate]] = {"minimum": _above, "maximum": _below}
_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def type_check(types: Collection[type], *, whole_floats: bool) -> Predicate:
    """Return the predicate of ``type``.

    Args:
        types: The Python types of the allowed JSON types, see ``python_types``.
        whole_floats: Whether 1.0 is an integer, as from draft 06 on.
    """
    allowed = frozenset(types)
    if whole_floats:
        return lambda value: (
            type(value) in allowed or (isinstance(value, float) and value.is_integer())
        )
    return lambda value: type(value) in allowed


def python_types(names: Sequence[object]) -> frozenset[type]:
    """Return the Python types of parsed JSON values of the named types."""
    return frozenset(kind for name in names for kind in _TYPES.get(str(name), ()))


def _one_of_strings(options: Sequence[object]) -> Predicate:
    allowed = frozenset(options)
    return lambda value: isinstance(value, str) and value in allowed


def _all_strings(options: Sequence[object]) -> bool:
    return all(isinstance(option, str) for option in options)


def value_checks(
    draft: Mapping[str, object], schema: Mapping[str, object]
) -> Iterator[tuple[str, Predicate]]:
    """Yield each keyword of ``schema`` about a single value, except ``type``.

    Args:
        draft: The ``$schema`` to compile keywords with, if there is one.
        schema: The schema that holds the keywords.
    """
    if not schema.keys() & _ABOUT_VALUES:
        return
    for keyword, build in _IN_PYTHON.items():
        limit = schema.get(keyword)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool):
            is_strict = schema.get(_DRAFT_04_FLAGS.get(keyword, "")) is True
            yield keyword, _STRICT[keyword](limit) if is_strict else build(limit)
    for keyword in ("enum", "const"):
        options = schema.get(keyword) if keyword == "enum" else [schema.get(keyword)]
        if keyword not in schema or not isinstance(options, list):
            continue
        if _all_strings(options):
            yield keyword, _one_of_strings(options)
        else:
            yield keyword, keyword_check(draft, {keyword: schema[keyword]})
    for keyword in _ASKED:
        if keyword in schema:
            yield keyword, keyword_check(draft, {keyword: schema[keyword]})

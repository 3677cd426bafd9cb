"""Error classes: why a completion is not strict, for tables and failure reports.

A class names what keeps a completion from the first criterion that it misses.
"""

from collections.abc import Collection
from typing import NamedTuple

from trainables.tasks.strict_json.completion import Completion
from trainables.tasks.strict_json.credit import Failure
from trainables.tasks.strict_json.thinking import ThinkVerdict

__all__ = ["Problem", "classify"]


class Problem(NamedTuple):
    """The error class of a completion, and where the error is."""

    error_class: str
    """A stable code such as ``missing_key``; ``ok`` for a strict completion."""
    where: str = ""
    """A JSON pointer, or a position in the model's own text; empty if unknown."""


_CLASSES = {
    "type": "wrong_type",
    "required": "missing_key",
    "dependentRequired": "missing_key",
    "minItems": "wrong_count",
    "minProperties": "wrong_count",
    "contains": "wrong_count",
    "minContains": "wrong_count",
    "maxContains": "wrong_count",
    "additionalItems": "wrong_count",
    "additionalProperties": "extra_key",
    "propertyNames": "extra_key",
    "enum": "not_in_enum",
    "const": "not_in_enum",
    "pattern": "pattern_mismatch",
    "format": "format_mismatch",
    "minLength": "wrong_length",
    "maxLength": "wrong_length",
    "minimum": "out_of_range",
    "maximum": "out_of_range",
    "exclusiveMinimum": "out_of_range",
    "exclusiveMaximum": "out_of_range",
    "multipleOf": "out_of_range",
    "uniqueItems": "repeated_item",
    "forbidden": "forbidden_value",
    "not": "forbidden_value",
    "anyOf": "no_matching_branch",
    "oneOf": "no_matching_branch",
}
_PRECEDENCE = {keyword: rank for rank, keyword in enumerate(_CLASSES)}

_ENDED_EARLY = frozenset({"parse_unexpected_end", "parse_unterminated_string"})
_THINK_CLASSES = {
    "missing": "think_missing",
    "unclosed": "think_missing",
    "placeholder": "think_placeholder",
    "too_little": "think_too_little",
}


def classify(
    completion: Completion,
    *,
    failures: Collection[Failure],
    is_conformant: bool,
    thinking: bool,
    verdict: ThinkVerdict,
) -> Problem:
    """Return the error class of a completion, and where the error is.

    Args:
        completion: The parsed completion.
        failures: The violations of its document, if it parses.
        is_conformant: Whether its document conforms.
        thinking: Whether thinking was asked for.
        verdict: The verdict on its think block.

    Returns:
        ``ok`` for a strict completion; otherwise the class, with a JSON pointer for violations
        of the schema, or a position in the model's own text for other errors.
    """
    if not completion.is_parsed:
        return _unparsed(completion)
    if not is_conformant:
        return _first(failures)
    if completion.outside:
        several = "```" in completion.outside
        where = str(max(completion.outside_at - completion.offset, 0))
        return Problem("several_fences" if several else "text_outside", where)
    if thinking:
        return Problem(_THINK_CLASSES.get(verdict, "ok"))
    return Problem("ok" if verdict == "missing" else "think_uninvited")


def _first(failures: Collection[Failure]) -> Problem:
    """Return the failure nearest the root; of several, the first of the most specific class."""
    if not failures:
        return Problem("constraint_failed")
    keyword, path = min(failures, key=_rank)
    if keyword == "type" and not path:
        return Problem("wrong_top_level_type")
    pointer = "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in path)
    return Problem(_CLASSES.get(keyword, "constraint_failed"), pointer)


def _rank(failure: Failure) -> tuple[int, int]:
    keyword, path = failure
    return len(path), _PRECEDENCE.get(keyword, len(_PRECEDENCE))


def _unparsed(completion: Completion) -> Problem:
    end = str(len(completion.text) - completion.offset)
    if completion.form == "none" and completion.is_think_open:
        return Problem("truncated", end)
    if completion.form in ("none", "bare"):
        return Problem("no_fence")
    if not completion.is_closed:
        return Problem("truncated", end)
    at = str(max(completion.error_at - completion.offset, 0))
    if completion.error in _ENDED_EARLY:
        return Problem("truncated", at)
    if completion.form == "other_fence":
        return Problem("other_fence")
    return Problem(completion.error, at)

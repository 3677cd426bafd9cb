"""The base class of the parts of a sweep file, and the problems that validation reports.

``Spec`` is the frozen pydantic base: unknown keys fail, NaN and infinity are refused, and
the text below a field is its manual entry, in the JSON Schema and in error messages.
``Problem`` is one finding about one dotted key; validators that look at several keys
raise a list of them through ``refuse``.
"""

from collections.abc import Hashable
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

__all__ = ["PROBLEMS", "Problem", "Spec", "distinct", "refuse"]

PROBLEMS = "problems"
"""The pydantic error type of ``refuse``, and the key of its context that holds the list."""

T = TypeVar("T", bound=Hashable)


class Spec(BaseModel):
    """The base of every config class."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Problem(NamedTuple):
    """One reason why a spec cannot be used."""

    key: str
    """Dotted, relative to the spec that raised it; empty for the spec as a whole."""
    text: str
    """What was found, what is allowed and what to do; a sentence without the key."""


def refuse(*problems: Problem) -> None:
    """Raise all ``problems`` as one pydantic error; do nothing when there are none."""
    if problems:
        summary = " ".join(f"{problem.key} {problem.text}".strip() for problem in problems)
        raise PydanticCustomError(
            PROBLEMS, "{summary}", {"summary": summary, PROBLEMS: list(problems)}
        )


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a list that holds a value twice; a validator for pydantic's ``AfterValidator``."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"lists {', '.join(repeated)} twice; list each value once.")
    return values

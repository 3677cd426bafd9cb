"""Options to a spec: the same checks and messages as for a file, under the options' names."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from strictune.config.hints import explain
from strictune.errors import SpecError

__all__ = ["spec_from_options"]

S = TypeVar("S", bound=BaseModel)


def spec_from_options(
    spec_class: type[S], values: Mapping[str, Any], names: Mapping[str, str]
) -> S:
    """Build a spec from what the command line gave.

    Args:
        spec_class: The spec.
        values: By field; None keeps the field's default.
        names: The option behind each field, e.g. ``{"samples_per_prompt": "--samples"}``.

    Raises:
        SpecError: A value is not allowed; one line for each.
    """
    given = {field: value for field, value in values.items() if value is not None}
    try:
        return spec_class.model_validate(given)
    except ValidationError as error:
        problems = explain(error, data=given, schema=spec_class.model_json_schema())
        lines = (f"{names.get(problem.key, problem.key)} {problem.text}" for problem in problems)
        raise SpecError("\n".join(lines)) from error

"""One schema, compiled: the verdict on documents at once, the grades when first needed."""

import json
from functools import cached_property

from strictune.errors import SpecError
from trainables.tasks.strict_json.credit import Grader
from trainables.tasks.strict_json.validation import compile_schema

__all__ = ["CompiledSchema"]


class CompiledSchema:
    """One schema, ready to judge documents. Not picklable: compile it where it is used."""

    def __init__(self, schema: str) -> None:
        """Compile ``schema``, which is JSON text.

        Raises:
            SpecError: It is no JSON Schema, or refers to something outside itself.
        """
        try:
            self._schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise SpecError(
                f"schema {schema[:80]!r}: {error}. Expected a JSON Schema as JSON text."
            ) from error
        self.is_valid = compile_schema(self._schema)
        """Whether a document conforms."""

    @cached_property
    def grader(self) -> Grader:
        """What wrong documents are worth; built when the first one arrives."""
        return Grader(self._schema)

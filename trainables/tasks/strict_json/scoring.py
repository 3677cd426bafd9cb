"""Scores a completion against its schema: criteria, rewards and an error class.

Use one ``Scorer`` per process or batch: it caches compiled schemas. Nothing is kept at module
level, because processes do not share it. Rewards are raw; callers apply the weights.
"""

import json
from collections.abc import Sequence
from functools import cached_property

from strictune.errors import SpecError
from trainables.tasks.strict_json.answers import (
    ANSWER_MEASURES,
    CORRECT,
    MAX_WRONG_CONTENT,
    NO_DOCUMENT,
    Answer,
    Comparison,
)
from trainables.tasks.strict_json.completion import Completion, parse_completion
from trainables.tasks.strict_json.credit import MAX_WRONG_CREDIT, Failure, Grader
from trainables.tasks.strict_json.criteria import place
from trainables.tasks.strict_json.error_classes import Problem, classify
from trainables.tasks.strict_json.rewards import (
    ANSWER_REWARDS,
    REWARDS,
    Judged,
    Reward,
    validity_reward,
)
from trainables.tasks.strict_json.salvage import salvage
from trainables.tasks.strict_json.thinking import PLACEHOLDERS, Placeholders, judge_thought
from trainables.tasks.strict_json.validation import compile_schema
from trainables.tasks.task import Score

__all__ = ["Scorer"]

MAX_COMPILED_SCHEMAS = 4_096


class CompiledSchema:
    """A compiled schema that checks and grades documents. Cannot be pickled."""

    def __init__(self, schema: str) -> None:
        """Compile ``schema``, which is JSON text.

        Raises:
            SpecError: It is not a JSON Schema, or refers to something outside itself.
        """
        try:
            self._schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise SpecError(
                f"schema {schema[:80]!r}: {error}. Expected a JSON Schema as JSON text."
            ) from error
        self.is_valid = compile_schema(self._schema)
        """Returns whether a document conforms."""

    @cached_property
    def grader(self) -> Grader:
        """Grades documents that do not conform; built on first use."""
        return Grader(self._schema)


class Scorer:
    """Scores completions, and caches compiled schemas.

    Only its settings are pickled: a copy in another process compiles schemas again and gives the
    same scores.
    """

    def __init__(self, *, placeholders: Sequence[str] = PLACEHOLDERS) -> None:
        """Create a scorer.

        Args:
            placeholders: Filler texts that do not count as thinking; they should include all
                that the task's prompts show.
        """
        self._phrases = tuple(placeholders)
        self._placeholders = Placeholders(self._phrases)
        self._compiled: dict[str, CompiledSchema] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the settings without compiled schemas."""
        return _rebuild, (self._phrases,)

    def score(
        self,
        completion: str,
        schema: str,
        *,
        thinking: bool,
        think_prefilled: bool,
        answer: Answer | None = None,
    ) -> Score:
        """Score one completion.

        Args:
            completion: The model's output, unchanged; no text makes this raise.
            schema: The JSON Schema, as JSON text.
            thinking: Whether the prompt asked for a think block.
            think_prefilled: Whether the prompt ended inside the think block.
            answer: The expected document, if there is one.

        Raises:
            SpecError: The schema cannot be compiled.
        """
        compiled = self._compile(schema)
        parsed = parse_completion(completion, think_prefilled=think_prefilled)
        verdict = judge_thought(
            parsed.thought, is_open=parsed.is_think_open, placeholders=self._placeholders
        )
        is_valid = parsed.is_read and compiled.is_valid(parsed.document)
        validity = validity_reward(parsed)
        schema_reward, failures = _grade(compiled, parsed, validity.value, is_valid=is_valid)
        found = answer and answer.compared(parsed.document if parsed.is_read else NO_DOCUMENT)
        judged = Judged(
            completion=parsed,
            thinking=thinking,
            verdict=verdict,
            validity=validity,
            schema=schema_reward,
            bulk=None if is_valid else compiled.grader.bulk,
            content=_content(found) if found and parsed.is_read else None,
        )
        table = REWARDS if answer is None else ANSWER_REWARDS
        rewards = {name: component.function(judged) for name, component in table.items()}
        error = classify(
            parsed, failures=failures, is_conformant=is_valid, thinking=thinking, verdict=verdict
        )
        criteria = place(parsed, is_valid=is_valid, thinking=thinking, verdict=verdict)
        measures = {}
        if found is not None:
            if criteria["strict"] and not found.is_equal:
                error = Problem(found.error_class, found.where)
            criteria[CORRECT] = criteria["strict"] and found.is_equal
            measures = dict(
                zip(ANSWER_MEASURES, (found.precision, found.recall, found.f1), strict=True)
            )
        return Score(
            criteria=criteria,
            rewards={name: reward.value for name, reward in rewards.items()},
            reasons={name: reward.reason for name, reward in rewards.items()},
            error_class=error.error_class,
            error_path=error.where,
            is_thinking=verdict == "real",
            measures=measures,
            fields={} if found is None else found.fields,
        )

    def _compile(self, schema: str) -> CompiledSchema:
        compiled = self._compiled.get(schema)
        if compiled is None:
            compiled = CompiledSchema(schema)
            if len(self._compiled) >= MAX_COMPILED_SCHEMAS:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[schema] = compiled
        return compiled


def _content(found: Comparison) -> Reward:
    if found.is_equal:
        return Reward(1.0, "ok")
    return Reward(min(found.f1, MAX_WRONG_CONTENT), found.error_class)


def _rebuild(placeholders: Sequence[str]) -> Scorer:
    return Scorer(placeholders=placeholders)


def _grade(
    compiled: CompiledSchema, completion: Completion, validity: float, *, is_valid: bool
) -> tuple[Reward, Sequence[Failure]]:
    """Return the schema reward, 1 if and only if the candidate conforms, and the violations.

    A candidate that does not parse gets the credit of its part before the error, times its
    validity reward.
    """
    if is_valid:
        return Reward(1.0, "ok"), ()
    if completion.is_read:
        grade = compiled.grader.grade(completion.document)
        return Reward(grade.credit, "not_conformant"), grade.failures
    if not completion.has_candidate:
        return Reward(0.0, "no_document"), ()
    document = salvage(completion.text, completion.start, completion.error_at)
    if document is None:
        return Reward(0.0, "not_parsed"), ()
    if compiled.is_valid(document):
        return Reward(validity * MAX_WRONG_CREDIT, "not_parsed"), ()
    return Reward(validity * compiled.grader.grade(document).credit, "not_parsed"), ()

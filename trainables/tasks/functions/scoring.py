"""Calls reward functions as TRL's ``GRPOTrainer`` does, and turns their values into scores.

None means "does not apply": the completion has no value of that component, and its reward is the
sum of the others. A completion to which no function applies has no reward.
"""

import asyncio
import functools
import inspect
import math
import numbers
import operator
import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from strictune.errors import SpecError, TrialError
from trainables.tasks.functions.data import stored_row
from trainables.tasks.functions.module import load_functions
from trainables.tasks.functions.settings import SUCCESS, Condition, FunctionsSettings
from trainables.tasks.jsonl import error_line
from trainables.tasks.task import Attempt, BatchScore, Hooks, Prompt, Purpose, Score

__all__ = ["FunctionScorer"]

THINK_OPEN = "<think>\n"
THINK_CLOSE = "</think>"
MIN_THOUGHT_WORDS = 3
"""The fewest words that make a think block real."""

_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
Value = float | None


class FunctionScorer:
    """Scores batches with the functions of one module."""

    def __init__(self, settings: FunctionsSettings) -> None:
        """Import the module.

        Raises:
            SpecError: It cannot be imported, or lacks a function.
        """
        self._settings = settings
        self._conditions = settings.conditions
        asked = [condition.function for condition in self._conditions]
        names = list(dict.fromkeys([*settings.rewards, *asked]))
        self._functions = load_functions(Path(settings.module).expanduser(), names)
        self._runner: asyncio.Runner | None = None

    def check(self, prompt: Prompt) -> None:
        """Check that every function can be called with the arguments that it will receive.

        Raises:
            SpecError: A function needs an argument that no column provides, or does not accept all.
        """
        given = _arguments([Attempt("", prompt, False, False)], Hooks(trainer_state=object()), {})
        for name, function in self._functions.items():
            try:
                inspect.signature(function).bind(**given)
            except TypeError as error:
                raise SpecError(
                    f"{self._where(name)} cannot be called: {error}. It receives "
                    f"{', '.join(given)}. Add the column, or accept **kwargs."
                ) from error
            except ValueError:
                continue  # Compiled code may have no signature.

    def score_batch(
        self, attempts: Sequence[Attempt], *, purpose: Purpose, hooks: Hooks
    ) -> BatchScore:
        """Score completions.

        Raises:
            TrialError: A function raised, or returned something that is not a reward.
        """
        if not attempts:
            return BatchScore([])
        logged: dict[str, list[float]] = {}
        arguments = _arguments(attempts, hooks, logged)
        values = self._values(arguments, attempts)
        scores = [
            self._score(
                attempt, {name: column[index] for name, column in values.items()}, purpose=purpose
            )
            for index, attempt in enumerate(attempts)
        ]
        means = {name: math.fsum(found) / len(found) for name, found in logged.items()}
        return BatchScore(scores, means)

    def _score(self, attempt: Attempt, values: Mapping[str, Value], *, purpose: Purpose) -> Score:
        self._refuse_vague_success(values, attempt)
        rewards = {name: values[name] for name in self._settings.rewards}
        known = {name: value for name, value in rewards.items() if value is not None}
        is_unknown = any(values[one.function] is None for one in self._conditions)
        missed = [one.function for one in self._conditions if not _holds(one, values)]
        thought, closing, _ = _text(attempt).partition(THINK_CLOSE)
        num_words = len(thought.partition("<think>")[2].split())
        return Score(
            criteria={} if is_unknown else {SUCCESS: not missed},
            rewards=known,
            error_class="does_not_apply" if is_unknown else next(iter(missed), "ok"),
            is_thinking=bool(closing) and num_words >= MIN_THOUGHT_WORDS,
            # Training needs a reward; an evaluation needs to know whether the answer is correct.
            is_missing=not known if purpose == "training" else is_unknown,
        )

    def _refuse_vague_success(self, values: Mapping[str, Value], attempt: Attempt) -> None:
        for condition in self._conditions:
            name = condition.function
            if condition.sign is None and values[name] not in (None, 0.0, 1.0):
                raise TrialError(
                    f"{self._where(name)} returned {values[name]} for row {attempt.prompt.id}, but "
                    f"task.success = {self._settings.success} expects true or false. State a "
                    f"threshold, e.g. {name} >= 1.0."
                )

    def _values(
        self, arguments: Mapping[str, Any], attempts: Sequence[Attempt]
    ) -> dict[str, list[Value]]:
        """Call every function; async functions run together after the others, as in TRL."""
        outputs: dict[str, Any] = {}
        waiting: dict[str, Callable[..., Any]] = {}
        for name, function in self._functions.items():
            if _is_async(function):
                waiting[name] = function
            else:
                outputs[name] = self._called(name, arguments, attempts)
        if waiting:
            outputs |= self._awaited(waiting, arguments, attempts)
        return {name: self._checked(name, outputs[name], attempts) for name in self._functions}

    def _called(self, name: str, arguments: Mapping[str, Any], attempts: Sequence[Attempt]) -> Any:
        try:
            return self._functions[name](**arguments)
        except (Exception, SystemExit) as error:
            raise self._failure(name, error, attempts) from error

    def _awaited(
        self,
        waiting: Mapping[str, Callable[..., Any]],
        arguments: Mapping[str, Any],
        attempts: Sequence[Attempt],
    ) -> dict[str, Any]:
        async def call_all() -> list[Any]:
            calls = [function(**arguments) for function in waiting.values()]
            return await asyncio.gather(*calls, return_exceptions=True)

        if self._runner is None:
            # One event loop for all batches: clients that a function keeps are bound to it.
            self._runner = asyncio.Runner()
            weakref.finalize(self, self._runner.close)
        outputs = dict(zip(waiting, self._runner.run(call_all()), strict=True))
        for name, output in outputs.items():
            if isinstance(output, Exception):
                raise self._failure(name, output, attempts) from output
            if isinstance(output, BaseException):
                raise output
        return outputs

    def _failure(self, name: str, error: BaseException, attempts: Sequence[Attempt]) -> TrialError:
        return TrialError(
            f"{self._where(name)} raised {error_line(error)} "
            f"(row {self._failing_row(name, attempts)}). Fix the function."
        )

    def _failing_row(self, name: str, attempts: Sequence[Attempt]) -> str:
        """Return the id of the first row on which a function raises, or all ids of the batch."""
        function = self._functions[name]
        for attempt in attempts:
            arguments = _arguments([attempt], Hooks(), {})
            try:
                if _is_async(function):
                    asyncio.run(function(**arguments))
                else:
                    function(**arguments)
            except (Exception, SystemExit):  # noqa: BLE001
                return attempt.prompt.id
        ids = list(dict.fromkeys(attempt.prompt.id for attempt in attempts))
        return f"one of {', '.join(ids)}"

    def _checked(self, name: str, output: Any, attempts: Sequence[Attempt]) -> list[Value]:
        try:
            if isinstance(output, Mapping | Set | str):
                raise TypeError  # Iterating would yield keys or characters.
            values = list(output)
        except TypeError as error:
            raise TrialError(
                f"{self._where(name)} returned {type(output).__name__}, expected a list of one "
                "number or None for each completion. Fix the function."
            ) from error
        if len(values) != len(attempts):
            raise TrialError(
                f"{self._where(name)} returned {len(values)} values for {len(attempts)} "
                "completions, expected one for each. Fix the function."
            )
        return [
            self._number(name, value, attempt)
            for value, attempt in zip(values, attempts, strict=True)
        ]

    def _number(self, name: str, value: Any, attempt: Attempt) -> Value:
        if value is None:
            return None
        # TRL also accepts a tensor or an array of one number.
        plain = value.item() if hasattr(value, "item") else value
        if not isinstance(plain, numbers.Real) or not math.isfinite(plain):
            raise TrialError(
                f"{self._where(name)} returned {plain!r} for row {attempt.prompt.id}, expected a "
                "finite number, or None where it does not apply. Fix the function."
            )
        return float(plain)

    def _where(self, name: str) -> str:
        return f"reward function {name} of {self._settings.module}"


def _arguments(
    attempts: Sequence[Attempt], hooks: Hooks, logged: dict[str, list[float]]
) -> dict[str, Any]:
    """Return the arguments that TRL passes to a reward function.

    In an evaluation there is no trainer: functions get a new trainer state, logged metrics are
    collected in ``logged``, and extra columns are ignored.
    """
    rows = [stored_row(attempt.prompt) for attempt in attempts]
    texts = [_text(attempt) for attempt in attempts]
    is_chat = not isinstance(rows[0].prompt, str)
    state = hooks.trainer_state
    if state is None:
        from transformers import TrainerState

        state = TrainerState()
    return {
        "prompts": [row.prompt for row in rows],
        "completions": [[{"role": "assistant", "content": text}] for text in texts]
        if is_chat
        else texts,
        "completion_ids": [list(attempt.ids) for attempt in attempts],
        **{name: [row.columns.get(name) for row in rows] for name in rows[0].columns},
        "trainer_state": state,
        "log_extra": hooks.log_extra or (lambda column, values: None),
        "log_metric": hooks.log_metric
        or (lambda name, value: logged.setdefault(name, []).append(float(value))),
    }


def _text(attempt: Attempt) -> str:
    """Return a completion as TRL passes it, with the opening of the think block restored."""
    text = attempt.completion if attempt.plain is None else attempt.plain
    return f"{THINK_OPEN}{text}" if attempt.think_prefilled else text


def _holds(condition: Condition, values: Mapping[str, Value]) -> bool:
    value = values[condition.function]
    if value is None:
        return False
    return bool(value) if condition.sign is None else _SIGNS[condition.sign](value, condition.value)


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )

"""The seven reward components: what each rewards, and its published weights.

They keep the published names and ranges. They read the candidate document wherever it was found,
so that a model that writes bare JSON still gets a signal. Two properties connect them to the
ladder: a strict completion has every component at its maximum, and any other one has ``schema``,
``strictness`` or (with thinking) ``reasoning`` below it. Adding valid elements or padding to a
wrong answer never raises a value: amounts of text are compared with constants, not with the length
of the answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from trainables.tasks.base_settings import Component
from trainables.tasks.strict_json.answers import CONTENT
from trainables.tasks.strict_json.completion import THINK_OPEN, Completion
from trainables.tasks.strict_json.reading import num_open_brackets
from trainables.tasks.strict_json.repetition import (
    MAX_LOOP,
    MIN_LOOP,
    length_of_loops,
    most_elements,
)
from trainables.tasks.strict_json.thinking import ThinkVerdict

__all__ = ["ANSWER_REWARDS", "REWARDS", "JsonComponent", "Judged", "Reward", "validity_reward"]

OUTSIDE_YARDSTICK = 200.0
"""Characters of outside text that cost half of the full penalty."""
ERROR_YARDSTICK = 50.0
"""Characters after the first error that halve the credit above the minimum."""
BRACKET_CHARACTERS = 20
"""Characters that each bracket left open at the end counts for."""
HEAVY_LOOP = 40
"""Words in loops at which the reward is 0."""
RUNS_ON = 45.0
"""Elements above ``Judged.bulk`` from which a container counts as running on."""
RUNAWAY = 75.0
"""Elements above ``Judged.bulk`` at which the reward reaches -1."""

_CUT_ERRORS = frozenset({"parse_unexpected_end", "parse_unterminated_string", "parse_empty"})


class Reward(NamedTuple):
    """The value of one component and the reason for it."""

    value: float
    reason: str
    """A stable code for tables, e.g. ``unclosed_fence``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One parsed completion, and what else the components read."""

    completion: Completion
    thinking: bool
    """Whether thinking was asked for."""
    verdict: ThinkVerdict
    """The verdict on its think block."""
    validity: Reward
    """The result of ``validity_reward``."""
    schema: Reward
    """The schema reward: 1 if and only if the document conforms."""
    bulk: float | None
    """Elements of one container that are more than the schema asks for; None for a document that
    conforms."""
    content: Reward | None = None
    """The content reward; None if no document is expected or none was read."""


_FULL = Reward(1.0, "ok")


def _format_reward(judged: Judged) -> Reward:
    """Return 1 for a closed json fence, 0.5 for another or an unclosed one, 0 for none."""
    completion = judged.completion
    if completion.form == "json_fence":
        return _FULL if completion.is_closed else Reward(0.5, "unclosed_fence")
    if completion.form == "other_fence":
        return Reward(0.5, "other_fence")
    return Reward(0.0, "no_fence")


def validity_reward(completion: Completion) -> Reward:
    """Return 1 if the candidate parses, else 0.70 down to 0.20 the more text follows the error.

    Text before the error does not count, or valid padding there would raise the value; a
    candidate that is wrong from its first character on has 0.20. If the text ends early, each
    open bracket counts for ``BRACKET_CHARACTERS`` missing characters.
    """
    if not completion.has_candidate:
        return Reward(0.0, "no_document")
    if not completion.error:
        return _FULL
    if completion.error_at <= completion.start:
        return Reward(0.2, completion.error)
    missing = float(len(completion.text[completion.error_at : completion.end].rstrip()))
    if completion.error in _CUT_ERRORS:
        missing = float(BRACKET_CHARACTERS) * num_open_brackets(
            completion.text, completion.start, completion.end
        )
    return Reward(
        0.2 + 0.5 * ERROR_YARDSTICK / (ERROR_YARDSTICK + missing),
        completion.error,
    )


def _reasoning_reward(judged: Judged) -> Reward:
    """Return 1 for a real think block, -0.2 for too little, -0.5 for none or a placeholder.

    Also 1 if no thinking was asked for, so that the component has no effect.
    """
    if not judged.thinking:
        return Reward(1.0, "not_asked")
    if judged.verdict == "real":
        return _FULL
    return Reward(-0.2 if judged.verdict == "too_little" else -0.5, judged.verdict)


def _truncation_reward(judged: Judged) -> Reward:
    """Return 1 for a complete answer, 0 without JSON, -1 if the answer was cut off."""
    completion = judged.completion
    if not completion.has_candidate:
        is_cut = completion.is_think_open or not completion.is_closed
        return Reward(-1.0, "cut_off") if is_cut else Reward(0.0, "no_document")
    if not completion.is_closed or completion.error in _CUT_ERRORS:
        return Reward(-1.0, "cut_off")
    if (
        completion.form == "bare"
        and completion.error
        and num_open_brackets(completion.text, completion.start, completion.end)
    ):
        return Reward(-1.0, "cut_off")
    return _FULL


def _repetition_reward(judged: Judged) -> Reward:
    """Return 1 without a loop, 0 for heavy repetition, down to -1 for a degenerate loop.

    Closed think blocks are left to ``reasoning``, and conformant documents may repeat what their
    schema asks for; neither is read. A document that does not conform loses as much if a
    container runs on without end.
    """
    completion, bulk = judged.completion, judged.bulk
    text = completion.outside
    if bulk is not None:
        text += completion.text[completion.start : completion.end]
    loop = _loop_reward(length_of_loops(text))
    # Each element except the first follows a comma.
    if bulk is None or text.count(",") < bulk + RUNS_ON:
        return loop
    excess = most_elements(completion.document) - bulk - RUNS_ON
    value = max(1.0 - 2.0 * excess / (RUNAWAY - RUNS_ON), -1.0)
    return Reward(value, "runs_on") if value < loop.value else loop


def _loop_reward(num_words: int) -> Reward:
    if num_words < MIN_LOOP:
        return _FULL
    if num_words <= HEAVY_LOOP:
        return Reward((HEAVY_LOOP - num_words) / (HEAVY_LOOP - MIN_LOOP + 1), "repetition")
    beyond = (num_words - HEAVY_LOOP) / (MAX_LOOP - HEAVY_LOOP)
    return Reward(max(-beyond, -1.0), "loop")


def _strictness_reward(judged: Judged) -> Reward:
    """Return 1 if nothing is outside the fence, less the more text is outside.

    A think block that was not asked for counts as outside text. Any outside text costs at least
    0.1, and an answer without a closed json fence 0.5.
    """
    completion = judged.completion
    if not completion.has_candidate:
        return Reward(-1.0, "no_document")
    is_fenced = completion.form == "json_fence" and completion.is_closed
    is_invited = judged.thinking or completion.thought is None
    if is_fenced and is_invited and not completion.outside:
        return _FULL
    value = 1.0
    reason = "text_outside"
    num_outside = _num_visible(completion.outside)
    if not is_invited and completion.thought is not None:
        num_outside += _num_visible(completion.thought) + len(THINK_OPEN)
        reason = "think_uninvited"
    if num_outside:
        value = 0.9 - 1.9 * num_outside / (num_outside + OUTSIDE_YARDSTICK)
    if not is_fenced:
        value -= 0.5
        reason = "no_json_fence"
    return Reward(max(value, -1.0), reason)


def _num_visible(text: str) -> int:
    """Count the characters that are not white space."""
    return len("".join(text.split())) if text else 0


@dataclass(frozen=True, slots=True)
class JsonComponent(Component):
    """A component and the function that computes it."""

    function: Callable[[Judged], Reward] = lambda judged: judged.schema


REWARDS: Mapping[str, JsonComponent] = MappingProxyType(
    {
        "format": JsonComponent(0.10, 0.20, function=_format_reward),
        "validity": JsonComponent(0.15, 0.25, function=lambda judged: judged.validity),
        "schema": JsonComponent(0.20, 0.25, True, function=lambda judged: judged.schema),
        "reasoning": JsonComponent(0.25, 0.0, True, function=_reasoning_reward),
        "truncation": JsonComponent(0.10, 0.10, function=_truncation_reward),
        "repetition": JsonComponent(0.10, 0.10, function=_repetition_reward),
        "strictness": JsonComponent(0.10, 0.10, True, function=_strictness_reward),
    }
)
"""The components by name, in report order: weights with and without thinking, is decisive."""


def _content_reward(judged: Judged) -> Reward:
    """Return F1 over the leaf values, 1 if and only if the document is the expected one."""
    return judged.content or Reward(0.0, "no_document")


ANSWER_REWARDS: Mapping[str, JsonComponent] = MappingProxyType(
    {**REWARDS, CONTENT: JsonComponent(0.30, 0.30, True, function=_content_reward)}
)
"""The components of rows with expected answers."""

"""What a task must provide: prompts, chat messages, and a score for every completion.

A task is one folder that implements ``Task``. The platform, the trainables and the
analysis know tasks only through this protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol, TypedDict

__all__ = [
    "Attempt",
    "BatchScore",
    "Message",
    "OutsideSuite",
    "Prompt",
    "Purpose",
    "Score",
    "Split",
    "Task",
]

Split = Literal["train", "validation", "test"]
Purpose = Literal["training", "evaluation"]
"""What scores are for: a task may have one judge to train by and another to measure by."""


class Message(TypedDict):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One instruction of a suite, with everything that scoring needs."""

    id: str
    text: str
    """The instruction itself; ``Task.messages`` wraps it into chat messages."""
    family: str
    """Prompts of one family share a skeleton: the unit of splitting and of clustered errors."""
    difficulty: str
    """One of ``Task.difficulties``."""
    constructs: tuple[str, ...] = ()
    """Features for rates by construct, e.g. ``exact_count``."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What scoring reads; travels as data-set columns, e.g. ``{"schema": "<JSON text>"}``."""
    gold: str | None = None
    """A completion body of full marks, where the task knows one."""


class OutsideSuite(NamedTuple):
    """A suite that an installed package or a hub holds, as far as it can be used."""

    prompts: tuple[Prompt, ...]
    dropped: Mapping[str, int]
    """How many entries cannot be used, by reason."""


class Attempt(NamedTuple):
    """One completion that is to be scored."""

    completion: str
    prompt: Prompt
    is_truncated: bool
    """The token limit ended it, not the model."""
    think_prefilled: bool
    """The prompt opened the think block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one completion is worth.

    What could not be measured, e.g. because a judge did not answer, is absent. It is never
    counted as 0: in training such a completion has no reward, in evaluation it has no row.
    """

    rungs: Mapping[str, bool]
    """Each of ``Task.rungs``, in ladder order."""
    rewards: Mapping[str, float]
    """The raw value of each of ``Task.components``, before weights; empty if ``is_missing``."""
    reasons: Mapping[str, str]
    """A stable code for each component's value."""
    error_class: str
    """``ok`` when the primary rung holds, else the first thing that went wrong."""
    error_path: str = ""
    """Where it went wrong: a JSON pointer, or a character position; empty if nowhere."""
    is_thinking: bool = False
    """A real think block was written."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Each of ``Task.measures``."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What a component is put together from, where the data choose the names, e.g. rubrics."""
    details: str = ""
    """More for reports, see ``details``; empty if there is nothing more."""
    is_missing: bool = False
    """Something that the reward needs could not be measured."""


class BatchScore(NamedTuple):
    """What a batch of completions is worth."""

    scores: Sequence[Score]
    """One for each attempt, in their order."""
    metrics: Mapping[str, float] = MappingProxyType({})
    """About the scoring itself, e.g. ``judge/failure_frac``."""


class Task(Protocol):
    """Data, prompts, rewards and scoring of one kind of problem."""

    kind: str
    rungs: tuple[str, ...]
    """The scoring ladder, lowest first."""
    primary_rung: str
    """The rung that verdicts and searches are about."""
    components: tuple[str, ...]
    """The reward components, in report order."""
    measures: tuple[str, ...]
    """What is measured of a completion beside rungs and rewards, in report order."""
    difficulties: tuple[str, ...]
    """Easiest first."""
    max_prompt_tokens: int
    """Longer prompts are dropped from training and refused in evaluation."""
    outside_suites: tuple[str, ...]
    """Names of suites that ``outside_suite`` loads."""

    def prompts(self, split: Split) -> Sequence[Prompt]:
        """Return all prompts of a split, always in the same order."""

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read prompts from outside.

        Raises:
            SpecError: The file, or one of its rows, cannot be used.
        """

    def outside_suite(self, name: str, part: str) -> OutsideSuite:
        """Load a suite of ``outside_suites``, or one part of it; an empty ``part`` loads all.

        Raises:
            SpecError: There is no such part, or what holds the suite cannot be used.
        """

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the chat messages that put ``prompt`` to a model."""

    def score_batch(
        self, attempts: Sequence[Attempt], *, thinking: bool, purpose: Purpose
    ) -> BatchScore:
        """Score completions together; never raises on any completion text.

        Raises:
            TrialError: So much could not be measured that what is left would mislead.
        """

    def scorer_hash(self) -> str:
        """Identify the scoring code: results under different hashes are not comparable."""

    def data_hash(self) -> str:
        """Identify the data set and the prompt wording."""

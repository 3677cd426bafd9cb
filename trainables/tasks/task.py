"""Base class of tasks: prompts, chat messages, and a score for every completion.

A task is one folder with a subclass of ``Task``, which must build prompts and score completions;
the rest has defaults. The platform, the trainables and the analysis know tasks only through this
class.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from strictune.errors import SpecError
from trainables.tasks.base_settings import BaseSettings

__all__ = [
    "GOLD",
    "NO_HOOKS",
    "SPLITS",
    "Attempt",
    "BatchScore",
    "Hooks",
    "Message",
    "OnProgress",
    "OutsideSuite",
    "Prompt",
    "Purpose",
    "Score",
    "Split",
    "Task",
    "code_hash",
]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Purpose = Literal["training", "evaluation"]
"""What scores are for: a task may have one judge to train by and another to measure by."""
OnProgress = Callable[[int, int], None]
"""Told now and then how many of how many are done."""
GOLD = "gold"
"""The name of the answer of full marks that ``Task.crafted_answers`` are held against."""


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
    """One of the settings' ``difficulties``."""
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
    plain: str | None = None
    """The completion without special tokens; None where it is not known."""
    ids: Sequence[int] = ()
    """Its tokens, the one that ended it included; empty where they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one completion.

    What could not be measured, e.g. because a judge did not answer, is absent. It is never
    counted as 0: in training such a completion has no reward, in evaluation it has no row.
    """

    criteria: Mapping[str, bool]
    """Each of the settings' ``criteria``, in ladder order."""
    rewards: Mapping[str, float]
    """The raw value of each component, before weights; empty if ``is_missing``."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """A stable code for each component's value."""
    error_class: str = ""
    """``ok`` when the primary criterion holds, else the first thing that went wrong. Left out, it
    is ``not_<criterion>`` of the lowest criterion that does not hold."""
    error_path: str = ""
    """Where it went wrong: a JSON pointer, or a character position; empty if nowhere."""
    is_thinking: bool = False
    """A real think block was written."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Each of ``Task.measures``."""
    fields: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Where a document is expected: of each of its fields how many values are right, wrong and
    missing, and how many are there that nobody expected."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What a component is put together from, where the data choose the names, e.g. rubrics."""
    details: str = ""
    """What pages show beside the text, as JSON: ``{"spans": [{start, end, label, is_fault}],
    "scores": [{name, value, is_negative}]}``, spans in characters of the completion, a value of
    null is missing. Empty if there is nothing to show."""
    is_missing: bool = False
    """Something that the reward needs could not be measured."""

    def __post_init__(self) -> None:
        if not self.error_class:
            missed = (f"not_{name}" for name, holds in self.criteria.items() if not holds)
            object.__setattr__(self, "error_class", next(missed, "ok"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Callbacks of ``Task.score_batch``."""

    on_progress: Callable[[], None] | None = None
    """To be called more often than every ``resources.step_timeout_s`` where scoring an evaluation
    takes so long: it is the trial's sign of life. It may raise, to stop the trial."""
    trainer_state: Any = None
    """TRL's, in training."""
    log_extra: Callable[[str, list[Any]], None] | None = None
    """TRL's, in training: adds a column to the table of completions."""
    log_metric: Callable[[str, float], None] | None = None
    """TRL's, in training: adds a metric to the step."""


NO_HOOKS = Hooks()


class BatchScore(NamedTuple):
    """The scores of a batch of completions."""

    scores: Sequence[Score]
    """One for each attempt, in their order."""
    metrics: Mapping[str, float] = MappingProxyType({})
    """About the scoring itself, e.g. ``judge/failure_frac``."""


class Task:
    """Data, prompts, rewards and scoring of one kind of problem.

    A subclass names the class of its settings (``settings: SumsSettings``), builds prompts, and
    scores: one completion in ``score``, or a whole batch in ``score_batch``. Cheap to construct and
    to pickle: prompts are built when first asked for, and do not travel to other processes.
    """

    settings: BaseSettings
    measures: tuple[str, ...] = ()
    """What is measured of a completion beside criteria and rewards, in report order."""
    max_prompt_tokens: int = 512
    """Longer prompts are dropped from training and refused in evaluation."""
    outside_suites: tuple[str, ...] = ()
    """Names of suites that ``outside_suite`` loads."""

    def __init__(self, settings: BaseSettings) -> None:
        self.settings = settings
        self._splits: dict[Split, tuple[Prompt, ...]] = {}

    def __reduce__(self) -> tuple[type["Task"], tuple[BaseSettings]]:
        return type(self), (self.settings,)

    @property
    def kind(self) -> str:
        """The name of its folder."""
        return self.settings.kind

    @property
    def criteria(self) -> tuple[str, ...]:
        """The scoring ladder, lowest first."""
        return self.settings.criteria

    @property
    def primary_criterion(self) -> str:
        """The criterion that verdicts and searches are about."""
        return self.settings.primary_criterion

    @property
    def components(self) -> tuple[str, ...]:
        """The reward components, in report order."""
        return self.settings.components

    @property
    def difficulties(self) -> tuple[str, ...]:
        """Easiest first."""
        return self.settings.difficulties

    def check(self, on_progress: OnProgress | None = None) -> None:
        """Check before a sweep starts what the task needs; by default nothing.

        Args:
            on_progress: To be told of checked rows.

        Raises:
            SpecError: Something is missing or cannot be used.
        """

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        """Draw or read the prompts of a split, always the same in the same order.

        Raises:
            SpecError: They cannot be read.
        """
        raise NotImplementedError

    def score(self, attempt: Attempt, *, thinking: bool) -> Score:
        """Score one completion; no text may make it raise."""
        raise NotImplementedError

    def score_batch(
        self,
        attempts: Sequence[Attempt],
        *,
        thinking: bool,
        purpose: Purpose,
        hooks: Hooks = NO_HOOKS,
    ) -> BatchScore:
        """Score completions together; by default one by one, for either purpose alike.

        Args:
            attempts: What is scored: a training batch, or all completions of an evaluation.
            thinking: A think block was asked for.
            purpose: What for.
            hooks: What the caller offers meanwhile.

        Raises:
            TrialError: So much could not be measured that what is left would mislead.
        """
        return BatchScore([self.score(attempt, thinking=thinking) for attempt in attempts])

    def prompts(self, split: Split) -> Sequence[Prompt]:
        """Return all prompts of a split, built once."""
        if split not in self._splits:
            self._splits[split] = tuple(self.build_prompts(split))
        return self._splits[split]

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the chat messages that put ``prompt`` to a model: by default its text alone."""
        return [{"role": "user", "content": prompt.text}]

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read prompts from outside; by default there is no such file.

        Raises:
            SpecError: The file, or one of its rows, cannot be used.
        """
        raise SpecError(f"suite {path}: the task {self.kind} reads no files, use its splits.")

    def outside_suite(self, name: str, part: str) -> OutsideSuite:
        """Load a suite of ``outside_suites``, or one part of it; an empty ``part`` loads all.

        Raises:
            SpecError: There is no such part, or what holds the suite cannot be used.
        """
        raise SpecError(f"suite {name}: the task {self.kind} has no suites from outside.")

    def has_gold(self, *, thinking: bool) -> bool:
        """Whether it offers ``gold_completion``."""
        return type(self).gold_completion is not Task.gold_completion

    def gold_completion(self, prompt: Prompt, *, thinking: bool) -> str | None:
        """Return what a model should write after the rendered prompt; None if it is not known.

        Supervised training (``method: sft``) learns from it. With thinking the prompt has opened
        the think block, so the completion starts inside it and closes it. The token that ends a
        turn is left out: each model has its own.
        """
        return None

    @property
    def has_grammar(self) -> bool:
        """Whether it offers ``answer_grammar``."""
        return type(self).answer_grammar is not Task.answer_grammar

    def answer_grammar(self, prompt: Prompt) -> str:
        """Return the rule ``answer`` and those below it, in llguidance's dialect of Lark.

        ``answer`` is everything behind a think block. Constrained decoding asks for it.

        Raises:
            SpecError: No grammar describes the answers of this task.
        """
        raise SpecError(
            f"--constrain: no grammar describes the answers of task {self.kind}. Leave it out."
        )

    def crafted_answers(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return completions that fool rewards, by name, and the right answer as ``GOLD``.

        The audit of a reward scores them, as a model would write them in full. The same names for
        every prompt; empty for a prompt whose right answer is not known.
        """
        return {}

    def scorer_hash(self) -> str:
        """Identify the scoring code: results under different hashes are not comparable.

        Made from all Python files of the task's folder and from the settings' ``scoring``.
        """
        code = code_hash(Path(inspect.getfile(type(self))).parent)
        facts = json.dumps([code, self.settings.scoring()], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def data_hash(self) -> str:
        """Identify the prompts of all splits and the wording around them."""
        return self._data_hash

    @cached_property
    def _data_hash(self) -> str:
        digest = hashlib.sha256()
        for split in SPLITS:
            for prompt in self.prompts(split):
                worded = [self.messages(prompt, thinking=thinking) for thinking in (False, True)]
                facts = {name: getattr(prompt, name) for name in prompt.__slots__}
                facts["columns"] = dict(prompt.columns)
                digest.update(json.dumps([split, facts, worded]).encode() + b"\0")
        return digest.hexdigest()


def code_hash(folder: Path) -> str:
    """Return the SHA-256 of all Python files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()

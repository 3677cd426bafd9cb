"""Base class of tasks: prompts, chat messages, and a score for every completion.

A task is one folder with a subclass of ``Task`` that builds prompts and scores completions; the
rest has defaults. The platform, the trainables and the analysis use tasks only through this class.
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
"""What scores are used for. A task may train with one judge and evaluate with another."""
OnProgress = Callable[[int, int], None]
"""Called from time to time with the number of items done and the total."""
GOLD = "gold"
"""The key of the fully correct answer in ``Task.crafted_answers``."""


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
    """Prompts with the same skeleton share a family. Families never cross splits, and standard
    errors are clustered by family."""
    difficulty: str
    """One of the settings' ``difficulties``."""
    constructs: tuple[str, ...] = ()
    """Features that tables break rates down by, e.g. ``exact_count``."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What scoring reads, passed along as data-set columns, e.g. ``{"schema": "<JSON text>"}``."""
    gold: str | None = None
    """The body of a fully correct completion, if the task knows one."""


class OutsideSuite(NamedTuple):
    """The usable prompts of a suite from an installed package or the Hugging Face hub."""

    prompts: tuple[Prompt, ...]
    dropped: Mapping[str, int]
    """The number of unusable entries, by reason."""


class Attempt(NamedTuple):
    """One completion to score."""

    completion: str
    prompt: Prompt
    is_truncated: bool
    """Whether generation stopped at the token limit."""
    think_prefilled: bool
    """Whether the prompt already opened the think block."""
    plain: str | None = None
    """The completion decoded without special tokens; None if unknown."""
    ids: Sequence[int] = ()
    """The token ids of the completion, including the end token; empty if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one completion.

    Values that could not be measured, e.g. because a judge did not answer, are absent, never 0: in
    training such a completion has no reward, in evaluation it has no row.
    """

    criteria: Mapping[str, bool]
    """Whether each of the settings' ``criteria`` holds, in ladder order."""
    rewards: Mapping[str, float]
    """The raw value of each component, before weighting; empty if ``is_missing``."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """A stable code that explains each component's value."""
    error_class: str = ""
    """``ok`` if the primary criterion holds, otherwise the first fault. Defaults to
    ``not_<criterion>`` of the lowest criterion that does not hold."""
    error_path: str = ""
    """Where the fault is: a JSON pointer or a character position; empty if unknown."""
    is_thinking: bool = False
    """Whether the completion has a real think block."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """The value of each of ``Task.measures``."""
    fields: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """For each field of an expected document, the number of values that are right, wrong, missing
    and unexpected."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """The values that a component is computed from where the data name them, e.g. rubrics."""
    details: str = ""
    """What pages show beside the text, as JSON: ``{"spans": [{start, end, label, is_fault}],
    "scores": [{name, value, is_negative}]}``. Spans count characters of the completion; a value of
    null is missing. Empty if there is nothing to show."""
    is_missing: bool = False
    """Whether something that the reward needs could not be measured."""

    def __post_init__(self) -> None:
        if not self.error_class:
            missed = (f"not_{name}" for name, holds in self.criteria.items() if not holds)
            object.__setattr__(self, "error_class", next(missed, "ok"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Callbacks that ``Task.score_batch`` may use."""

    on_progress: Callable[[], None] | None = None
    """Reports that the trial is alive. While an evaluation is scored, call it more often than every
    ``resources.step_timeout_s``. It may raise to stop the trial."""
    trainer_state: Any = None
    """TRL's trainer state, in training only."""
    log_extra: Callable[[str, list[Any]], None] | None = None
    """TRL's callback that adds a column to the table of completions, in training only."""
    log_metric: Callable[[str, float], None] | None = None
    """TRL's callback that adds a metric to the step, in training only."""


NO_HOOKS = Hooks()


class BatchScore(NamedTuple):
    """The scores of a batch of completions."""

    scores: Sequence[Score]
    """One score for each attempt, in the same order."""
    metrics: Mapping[str, float] = MappingProxyType({})
    """Metrics of the scoring itself, e.g. ``judge/failure_frac``."""


class Task:
    """Data, prompts, rewards and scoring of one kind of problem.

    A subclass annotates the class of its settings (``settings: SumsSettings``), builds prompts, and
    scores: one completion in ``score``, or a whole batch in ``score_batch``. Tasks are cheap to
    construct and to pickle: prompts are built on first use and are not pickled.
    """

    settings: BaseSettings
    measures: tuple[str, ...] = ()
    """Names of values measured besides criteria and rewards, in report order."""
    max_prompt_tokens: int = 512
    """Longer prompts are dropped from training and refused in evaluation."""
    outside_suites: tuple[str, ...] = ()
    """Names of the suites that ``outside_suite`` can load."""

    def __init__(self, settings: BaseSettings) -> None:
        self.settings = settings
        self._splits: dict[Split, tuple[Prompt, ...]] = {}

    def __reduce__(self) -> tuple[type["Task"], tuple[BaseSettings]]:
        return type(self), (self.settings,)

    @property
    def kind(self) -> str:
        """The name of the task's folder."""
        return self.settings.kind

    @property
    def criteria(self) -> tuple[str, ...]:
        """The names of the scoring ladder, lowest first."""
        return self.settings.criteria

    @property
    def primary_criterion(self) -> str:
        """The criterion that verdicts compare and searches optimize."""
        return self.settings.primary_criterion

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the reward components, in report order."""
        return self.settings.components

    @property
    def difficulties(self) -> tuple[str, ...]:
        """The names of the difficulties, easiest first."""
        return self.settings.difficulties

    def check(self, on_progress: OnProgress | None = None) -> None:
        """Check that what the task needs can be used, before a sweep starts.

        The default does nothing.

        Args:
            on_progress: Called with the number of checked rows.

        Raises:
            SpecError: Something is missing or cannot be used.
        """

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        """Build the prompts of a split: the same prompts in the same order each time.

        Raises:
            SpecError: The data cannot be read.
        """
        raise NotImplementedError

    def score(self, attempt: Attempt, *, thinking: bool) -> Score:
        """Score one completion; must not raise, whatever the text."""
        raise NotImplementedError

    def score_batch(
        self,
        attempts: Sequence[Attempt],
        *,
        thinking: bool,
        purpose: Purpose,
        hooks: Hooks = NO_HOOKS,
    ) -> BatchScore:
        """Score several completions; by default one by one, the same for both purposes.

        Args:
            attempts: The completions of a training batch or of a whole evaluation.
            thinking: Whether a think block was asked for.
            purpose: Whether the scores are for training or for an evaluation.
            hooks: Callbacks of the caller.

        Raises:
            TrialError: Too many completions could not be measured for the rest to be meaningful.
        """
        return BatchScore([self.score(attempt, thinking=thinking) for attempt in attempts])

    def prompts(self, split: Split) -> Sequence[Prompt]:
        """Return the prompts of a split; built once, then cached."""
        if split not in self._splits:
            self._splits[split] = tuple(self.build_prompts(split))
        return self._splits[split]

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the chat messages for a prompt; by default its text as one user message."""
        return [{"role": "user", "content": prompt.text}]

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read prompts from a suite file; by default a task supports none.

        Raises:
            SpecError: The file, or one of its rows, cannot be used.
        """
        raise SpecError(f"suite {path}: task {self.kind} reads no suite files. Use its splits.")

    def outside_suite(self, name: str, part: str) -> OutsideSuite:
        """Load a suite of ``outside_suites``, or one part of it; an empty ``part`` loads all.

        Raises:
            SpecError: The part does not exist, or the package or data set cannot be used.
        """
        raise SpecError(f"suite {name}: task {self.kind} has no outside suites. Use its splits.")

    def has_gold(self, *, thinking: bool) -> bool:
        """Whether the task implements ``gold_completion``."""
        return type(self).gold_completion is not Task.gold_completion

    def gold_completion(self, prompt: Prompt, *, thinking: bool) -> str | None:
        """Return the ideal completion of the rendered prompt, or None if it is not known.

        Supervised training (``method: sft``) learns from it. With thinking the prompt has opened
        the think block, so the completion starts inside it and closes it. The end-of-turn token is
        left out because it differs between models.
        """
        return None

    @property
    def has_grammar(self) -> bool:
        """Whether the task implements ``answer_grammar``."""
        return type(self).answer_grammar is not Task.answer_grammar

    def answer_grammar(self, prompt: Prompt) -> str:
        """Return a grammar for constrained decoding, in llguidance's dialect of Lark.

        Its rule ``answer`` describes everything after the think block.

        Raises:
            SpecError: The task has no grammar.
        """
        raise SpecError(
            f"--constrain: task {self.kind} has no grammar for its answers. Leave the option out."
        )

    def crafted_answers(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return completions made to exploit rewards, by name, and the right answer as ``GOLD``.

        The reward audit scores them. They are written in full, as a model would write them, under
        the same names for every prompt. Empty if the right answer of a prompt is not known.
        """
        return {}

    def scorer_hash(self) -> str:
        """Return a hash of the scoring code; results under different hashes are not comparable.

        Made from all Python files of the task's folder and of those of the kinds that it is a
        subclass of, and from the settings' ``scoring``.
        """
        bases = [*type(self).__mro__, *type(self.settings).__mro__]
        ours = [base for base in bases if base.__module__.startswith(f"{__package__}.")]
        folders = [Path(inspect.getfile(base)).parent for base in (bases[0], *ours)]
        codes = [code_hash(one) for one in dict.fromkeys(folders) if one != Path(__file__).parent]
        facts = json.dumps([*codes, self.settings.scoring()], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def data_hash(self) -> str:
        """Return a hash of the prompts of all splits and of their chat messages."""
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

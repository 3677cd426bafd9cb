"""The refiner: its rows and its scorer behind the ``Task`` protocol."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from strictune.errors import SpecError
from trainables.tasks.refiner.data import ROW_COLUMN, build_split, data_hash, read_prompts
from trainables.tasks.refiner.judge import Judge
from trainables.tasks.refiner.judge_settings import JudgeSettings, LexicalSettings
from trainables.tasks.refiner.lexical import LexicalJudge
from trainables.tasks.refiner.probes import probes_of
from trainables.tasks.refiner.prompts import row_messages
from trainables.tasks.refiner.rows import row_from_column
from trainables.tasks.refiner.scoring import Marks, RefinerScorer
from trainables.tasks.refiner.settings import (
    COMPONENT,
    DIFFICULTIES,
    MEASURES,
    RefinerSettings,
    RewardSettings,
)
from trainables.tasks.task import Attempt, BatchScore, Message, OutsideSuite, Prompt, Purpose, Split

__all__ = ["Refiner"]

_SCORING_MODULES = (
    "answer",
    "citations",
    "lexical",
    "markup",
    "replies",
    "rubrics",
    "scoring",
    "sentences",
)
"""Those that decide what an answer is worth, beside the judge's model and its words."""


class Refiner:
    """Turn an agent's reasoning and search output into a short answer with citations.

    Cheap to construct and to pickle: rows are read when first asked for, a judge is reached
    with the first batch, and neither travels to other processes.
    """

    kind: str = "refiner"
    rungs: tuple[str, ...] = RefinerSettings.rungs
    primary_rung = RefinerSettings.primary_rung
    components: tuple[str, ...] = (COMPONENT,)
    measures: tuple[str, ...] = MEASURES
    difficulties: tuple[str, ...] = DIFFICULTIES
    outside_suites: tuple[str, ...] = ()

    def __init__(self, settings: RefinerSettings) -> None:
        self.settings = settings
        self.max_prompt_tokens = settings.max_prompt_tokens
        self._splits: dict[Split, tuple[Prompt, ...]] = {}

    def __reduce__(self) -> tuple[type["Refiner"], tuple[RefinerSettings]]:
        return Refiner, (self.settings,)

    def prompts(self, split: Split) -> Sequence[Prompt]:
        """Return all prompts of a split, always in the same order."""
        if split not in self._splits:
            self._splits[split] = build_split(split, self.settings)
        return self._splits[split]

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read rows from a JSONL or Parquet file, see ``rows``."""
        return read_prompts(path)

    def outside_suite(self, name: str, part: str) -> OutsideSuite:
        """Refuse: this task knows no suites of others."""
        raise SpecError(f"suite {name}: the task {self.kind} has no suites from outside.")

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the row's own messages, or those that its question and evidence make."""
        return row_messages(row_from_column(prompt.columns[ROW_COLUMN]))

    def score_batch(
        self, attempts: Sequence[Attempt], *, thinking: bool, purpose: Purpose
    ) -> BatchScore:
        """Score completions together; never raises on any completion text.

        Raises:
            TrialError: The judge cannot be used, or failed too often.
        """
        if purpose == "evaluation":
            return self.score_slowly(attempts, thinking=thinking, on_progress=lambda: None)
        return self._scorers[purpose].score_batch(attempts, purpose=purpose)

    def score_slowly(
        self, attempts: Sequence[Attempt], *, thinking: bool, on_progress: Callable[[], None]
    ) -> BatchScore:
        """Score an evaluation's completions, the judge asked in rounds; see ``HasSlowScoring``.

        Raises:
            TrialError: The judge cannot be used, or failed too often.
        """
        return self._scorers["evaluation"].score_batch(
            attempts, purpose="evaluation", on_progress=on_progress
        )

    def probes(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return the gold answer and what tries to be paid like it, see ``HasProbes``."""
        return probes_of(prompt, thinking=thinking)

    def scorer_hash(self) -> str:
        """Identify how evaluations are scored: the code, the judge, and the pass marks."""
        digest = hashlib.sha256()
        scorer = self._scorers["evaluation"]
        marks = [scorer.marks.rubric_mean, scorer.marks.citation_f1]
        digest.update(json.dumps([scorer.judge.identity, marks]).encode())
        folder = Path(__file__).parent
        for name in _SCORING_MODULES:
            digest.update(name.encode())
            digest.update((folder / f"{name}.py").read_bytes())
        return digest.hexdigest()

    def data_hash(self) -> str:
        """Identify the rows of all splits and the words around them."""
        return self._data_hash

    @cached_property
    def _data_hash(self) -> str:
        splits: tuple[Split, ...] = ("train", "validation", "test")
        return data_hash({split: self.prompts(split) for split in splits})

    @cached_property
    def _scorers(self) -> dict[Purpose, RefinerScorer]:
        settings = self.settings
        return {
            "training": self._scorer(settings.judge, settings.reward),
            # What an answer is worth in an evaluation must not depend on what training pays.
            "evaluation": self._scorer(settings.evaluation_judge, RewardSettings()),
        }

    def _scorer(self, judge: JudgeSettings, rewards: RewardSettings) -> RefinerScorer:
        settings = self.settings
        return RefinerScorer(
            judge=_judge(judge),
            rewards=rewards,
            marks=Marks(
                rubric_mean=settings.pass_rubric_mean, citation_f1=settings.pass_citation_f1
            ),
            asks_each_rubric=isinstance(judge, LexicalSettings) or judge.rubric_calls == "each",
        )


def _judge(settings: JudgeSettings) -> Judge:
    if isinstance(settings, LexicalSettings):
        return LexicalJudge()
    # An HTTP client and a cache that the offline judge has no use for.
    from trainables.tasks.refiner.openai_judge import shared_judge

    return shared_judge(settings)

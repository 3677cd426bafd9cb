"""The refiner task: its rows and its scorer."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from trainables.tasks.refiner.crafted import crafted_answers
from trainables.tasks.refiner.data import ROW_COLUMN, build_split, read_prompts
from trainables.tasks.refiner.judge import Judge
from trainables.tasks.refiner.lexical import LexicalJudge
from trainables.tasks.refiner.prompts import row_messages
from trainables.tasks.refiner.rows import row_from_column
from trainables.tasks.refiner.scoring import Marks, RefinerScorer
from trainables.tasks.refiner.settings import (
    MEASURES,
    JudgeSettings,
    LexicalSettings,
    RefinerSettings,
    RewardSettings,
)
from trainables.tasks.task import (
    NO_HOOKS,
    SPLITS,
    Attempt,
    BatchScore,
    Hooks,
    Message,
    OnProgress,
    Prompt,
    Purpose,
    Split,
    Task,
)

__all__ = ["Refiner"]


class Refiner(Task):
    """Turn an agent's reasoning and search output into a short answer with citations.

    The judge is connected with the first batch, and is not pickled.
    """

    settings: RefinerSettings
    measures = MEASURES

    def __init__(self, settings: RefinerSettings) -> None:
        super().__init__(settings)
        self.max_prompt_tokens = settings.max_prompt_tokens

    def check(self, on_progress: OnProgress | None = None) -> None:
        """Read and check all rows, if the task reads files."""
        if self.settings.train is not None:
            for split in SPLITS:
                self.prompts(split)

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        """Read the rows that the settings name, or make rows up."""
        return build_split(split, self.settings)

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read rows from a JSONL or Parquet file, see ``rows``."""
        return read_prompts(path)

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the row's own messages, or messages written from its question and evidence."""
        return row_messages(row_from_column(prompt.columns[ROW_COLUMN]))

    def score_batch(
        self,
        attempts: Sequence[Attempt],
        *,
        thinking: bool,
        purpose: Purpose,
        hooks: Hooks = NO_HOOKS,
    ) -> BatchScore:
        """Score completions together, so that the judge gets all questions at once.

        Raises:
            TrialError: The judge cannot be used, or failed too often.
        """
        on_progress = None if purpose == "training" else hooks.on_progress or _ignore_progress
        return self._scorers[purpose].score_batch(
            attempts, purpose=purpose, on_progress=on_progress
        )

    def crafted_answers(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return the gold answer, and wrong answers made to earn rewards."""
        return crafted_answers(prompt, thinking=thinking)

    @cached_property
    def _scorers(self) -> dict[Purpose, RefinerScorer]:
        settings = self.settings
        return {
            "training": self._scorer(settings.judge, settings.reward),
            # Evaluation scores must not depend on the reward settings of training.
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


def _ignore_progress() -> None:
    """Do nothing; any callback tells the scorer to wait as long as answers arrive."""


def _judge(settings: JudgeSettings) -> Judge:
    if isinstance(settings, LexicalSettings):
        return LexicalJudge()
    # Imported late: the offline judge needs neither an HTTP client nor a cache.
    from trainables.tasks.refiner.openai_judge import shared_judge

    return shared_judge(settings)

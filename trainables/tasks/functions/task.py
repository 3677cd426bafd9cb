"""The task functions: a user's TRL reward functions on a user's rows."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from trainables.tasks.functions.data import build_splits, messages_of, read_file
from trainables.tasks.functions.scoring import FunctionScorer
from trainables.tasks.functions.settings import FunctionsSettings
from trainables.tasks.task import (
    NO_HOOKS,
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

__all__ = ["Functions"]


class Functions(Task):
    """Answer the prompts of a data set, rewarded by functions of the user."""

    settings: FunctionsSettings

    def __init__(self, settings: FunctionsSettings) -> None:
        super().__init__(settings)
        self.max_prompt_tokens = settings.max_prompt_tokens

    def check(self, on_progress: OnProgress | None = None) -> None:
        """Import the module, read all rows, and check that the functions accept their columns."""
        scorer = self._scorer
        self._read(on_progress)
        scorer.check(self._splits["train"][0])

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        """Return the checked rows of a split."""
        self._read()
        return self._splits[split]

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read further rows with the same columns."""
        return read_file(path, self.settings)

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the row's chat messages; a plain text becomes one user message."""
        return messages_of(prompt)

    def score_batch(
        self,
        attempts: Sequence[Attempt],
        *,
        thinking: bool,
        purpose: Purpose,
        hooks: Hooks = NO_HOOKS,
    ) -> BatchScore:
        """Call the reward functions once for the batch.

        Raises:
            TrialError: A function raised, or returned something that is not a reward.
        """
        return self._scorer.score_batch(attempts, purpose=purpose, hooks=hooks)

    def gold_completion(self, prompt: Prompt, *, thinking: bool) -> str | None:
        """Return the row's completion; None with thinking, since rows hold no think blocks."""
        return None if thinking else prompt.gold

    def _read(self, on_progress: OnProgress | None = None) -> None:
        if not self._splits:
            self._splits.update(build_splits(self.settings, on_progress))

    @cached_property
    def _scorer(self) -> FunctionScorer:
        return FunctionScorer(self.settings)

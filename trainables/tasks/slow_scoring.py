"""What a task offers beyond ``Task`` when scoring a whole evaluation takes minutes.

Left out of ``Task``: most tasks score at once, and have nothing to tell in between.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from trainables.tasks.task import Attempt, BatchScore

__all__ = ["HasSlowScoring"]


@runtime_checkable
class HasSlowScoring(Protocol):
    """A task that can say while it scores that it gets on."""

    def score_slowly(
        self, attempts: Sequence[Attempt], *, thinking: bool, on_progress: Callable[[], None]
    ) -> BatchScore:
        """Score an evaluation's completions as ``score_batch`` does.

        Args:
            attempts: All completions of the evaluation.
            thinking: A think block was asked for.
            on_progress: To be called more often than every ``resources.step_timeout_s``: it is
                the trial's sign of life. It may raise, to stop the trial.

        Raises:
            TrialError: So much could not be measured that what is left would mislead.
        """

"""What a training engine is: TRL's trainer with the settings and corrections that it needs.

TRL generates training completions itself. An engine tells it how, and mends what TRL sets up in
a way that a trial cannot use. All engines give the same: for each prompt of a batch, in order,
token ids that end with a stop token unless the token limit cut them off, and the same ids again
for the same seed.
"""

from typing import Any

from trl import GRPOTrainer

from strictune.config import TrialSpec

__all__ = ["TrainingEngine"]


class TrainingEngine:
    """Generation with ``transformers``' own ``generate``, which needs neither; others derive."""

    def __init__(self, spec: TrialSpec, *, max_prompt_tokens: int) -> None:
        """Take the trial that it generates for.

        Args:
            spec: The trial.
            max_prompt_tokens: No prompt is longer.

        Raises:
            TrialError: The engine cannot run here.
        """
        self._spec = spec
        self._max_tokens = max_prompt_tokens + spec.max_completion_tokens

    def arguments(self) -> dict[str, Any]:
        """Return the fields of TRL's ``GRPOConfig`` that choose and size the engine."""
        return {}

    def settle(self, trainer: GRPOTrainer) -> None:
        """Mend a trainer that has been built, before it trains.

        Raises:
            TrialError: The engine cannot generate from this model.
        """

"""What a training engine is: TRL's trainer with the settings and corrections that it needs.

TRL generates training completions itself. An engine tells it how, and mends what TRL sets up in
a way that a trial cannot use. All engines give the same: for each prompt of a batch, in order,
token ids that end with a stop token unless the token limit cut them off, the log-probabilities
that they were sampled with, and the same again for the same seed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel
from trl import GRPOTrainer

from strictune.config import TrialSpec
from trainables.rollouts.decoding import TokenLogps, generate_batch
from trainables.rollouts.merged import merged_copy

__all__ = ["TrainingEngine"]


class TrainingEngine:
    """Generation with ``transformers``' own ``generate``; others derive."""

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
        self.logps: Sequence[Sequence[float]] | None = None
        """Log-probabilities of the last completions' tokens, padding behind them; None where TRL's
        trainer has them itself."""

    def arguments(self) -> dict[str, Any]:
        """Return the fields of TRL's ``GRPOConfig`` that choose and size the engine."""
        return {}

    def settle(self, trainer: GRPOTrainer) -> None:
        """Mend a trainer that has been built, before it trains.

        Here: let it generate through ``generate_batch``, from a merged copy unless the trial says
        otherwise.

        Raises:
            TrialError: The engine cannot generate from this model.
        """
        self._take(trainer.model)
        trainer.model.generate = self._generate

    def _take(self, model: PeftModel) -> None:
        """Copy the model that is trained, unless completions come through its adapter."""
        self._base = model.get_base_model()
        self._copy = merged_copy(model) if self._spec.rollouts.weights == "merged" else None

    def _current_model(self) -> PreTrainedModel:
        """Return the model as it is now: its copy, merged anew, or the base with the adapter."""
        if self._copy is None:
            return self._base
        self._copy.refresh()
        return self._copy.model

    def _generate(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        generation_config: GenerationConfig,
    ) -> torch.Tensor:
        """Return prompts and completions of the adapter as it is now: (B, P) -> (B, P + T)."""
        model = self._current_model()
        temperature = generation_config.temperature or 1.0
        token_logps = TokenLogps(len(input_ids), temperature=temperature)
        was_training = model.training
        model.eval()  # An adapter's dropout is for the loss, not for what is sampled.
        try:
            return generate_batch(
                model, input_ids, attention_mask, generation_config, token_logps=token_logps
            )
        finally:
            self.logps = token_logps.rows
            model.train(was_training)

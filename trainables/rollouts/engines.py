"""The engines that a sweep file may name, and the one that a trial trains with."""

from collections.abc import Mapping

from strictune.config import TrialSpec
from trainables.rollouts.continuous_batching import ContinuousBatchingRollouts
from trainables.rollouts.training_engine import TrainingEngine
from trainables.rollouts.vllm_engine import VllmRollouts

__all__ = ["ENGINES", "training_engine"]

ENGINES: Mapping[str, type[TrainingEngine]] = {
    "transformers": TrainingEngine,
    "continuous_batching": ContinuousBatchingRollouts,
    "vllm": VllmRollouts,
}


def training_engine(spec: TrialSpec, *, max_prompt_tokens: int) -> TrainingEngine:
    """Return the engine of a trial's training rollouts.

    Raises:
        TrialError: It cannot run here.
    """
    return ENGINES[spec.rollouts.engine](spec, max_prompt_tokens=max_prompt_tokens)

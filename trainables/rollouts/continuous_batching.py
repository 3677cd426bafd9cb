"""Training rollouts with transformers' continuous batching, through TRL's switch for it.

A completion that ends makes room for tokens of the others at once, where ``generate`` pads it up
to the longest of its batch. It runs on CPU too, though it pays on a GPU only: without flash
attention each step computes the scores between every two sequences and masks them.

TRL's use of it has three faults, which ``settle`` and ``generate_all`` keep from trials:
it casts the trained weights to bfloat16, takes requests that failed for finished ones, and
starts generating before all prompts are there, so that the draws depend on timing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import GenerationConfig, PreTrainedModel
from transformers.generation import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.requests import GenerationOutput
from trl import GRPOTrainer

from strictune.errors import TrialError
from trainables.rollouts.training_engine import TrainingEngine

__all__ = ["ContinuousBatchingRollouts", "generate_all"]

PAGE_TOKENS = 64
FLASH_PAGE_TOKENS = 256
"""Flash attention 2 takes multiples of it only (``page_block_size`` of its
``flash_attn_with_kvcache``)."""
BATCH_TOKENS = 512
"""Tokens of one forward pass. Scores grow with their square: of 256 to 4,096 tokens, 512 and
pages of 64 took the least CPU time (builtin:tiny, 32 completions)."""
MEMORY_FRAC = 0.9
"""Of the free memory; the cache is sized by the work, so this only bounds it."""
POLL_S = 1.0


class ContinuousBatchingRollouts(TrainingEngine):
    """TRL's ``use_transformers_continuous_batching``."""

    def arguments(self) -> dict[str, Any]:
        """Switch it on, with a cache that holds all completions of a step at their full length.

        TRL's own choice is half of the free memory of the machine or GPU, whatever the work is
        and whoever else computes there.
        """
        requests = self._spec.grpo.completions_per_generation
        is_flash = "flash" in (self._spec.attn_implementation or "")
        page = FLASH_PAGE_TOKENS if is_flash else PAGE_TOKENS
        return {
            "use_transformers_continuous_batching": True,
            "transformers_continuous_batching_config": {
                "page_size": page,
                "num_blocks": requests * math.ceil(self._max_tokens / page),
                "max_batch_tokens": max(BATCH_TOKENS, requests),
                "max_requests_per_batch": requests,
                "max_memory_percent": MEMORY_FRAC,
                # The cache holds every request, so none has to wait for room.
                "safety_margin": 0.0,
                # Flash attention may be fetched from the model hub, as compiled code.
                "auto_switch_to_flash": False,
                # They are of what is left by ``top_p``, which TRL's loss does not leave out.
                "return_logprobs": self._spec.grpo.top_p == 1,
                **self._spec.rollouts.cuda_graph_options,
            },
        }

    def settle(self, trainer: GRPOTrainer) -> None:
        """Keep the trained weights in float32, and generate with ``generate_all``.

        From a merged copy unless the trial says otherwise.
        """
        base = trainer.model.get_base_model()
        _refuse_soft_capping(base, self._spec.model)
        # TRL casts all weights before each generation if this is set, LoRA's too, which rounds
        # small updates away. Autocast was set up with the trainer and does not read it again.
        trainer.args.bf16 = False
        self._take(trainer.model)

        def generate(inputs: Sequence[Sequence[int]], **options: Any) -> Mapping[str, Any]:
            outputs = generate_all(self._current_model(), inputs, **options)
            if self._spec.grpo.top_p == 1:
                self.logps = [output.logprobs for output in outputs.values()]
            return outputs

        base.generate_batch = generate


def generate_all(
    model: PreTrainedModel,
    inputs: Sequence[Sequence[int]],
    *,
    generation_config: GenerationConfig,
    continuous_batching_config: ContinuousBatchingConfig,
    **display: Any,
) -> dict[str, GenerationOutput]:
    """Do what ``model.generate_batch`` does, reproducibly, and fail where it fails.

    Args:
        model: The base, adapter inside or merged.
        inputs: Token ids of the prompts.
        generation_config: Limits and sampling.
        continuous_batching_config: Sizes.
        display: What TRL says about progress bars; there are none.

    Returns:
        One finished output for each prompt, in order.

    Raises:
        TrialError: A request failed on its own. What ended generation as a whole, such as a
            lack of memory, is raised as it is.
    """
    manager: ContinuousBatchingManager = model.init_continuous_batching(
        generation_config=generation_config, continuous_batching_config=continuous_batching_config
    )
    try:
        # Queued before the loop starts: what it batches, and so draws, must not depend on how
        # fast they come in.
        names = manager.add_requests(
            [list(ids) for ids in inputs], max_new_tokens=generation_config.max_new_tokens
        )
        manager.warmup()  # Captures CUDA graphs, where they are used.
        manager.start()
        outputs = _wait_for(manager, len(names))
    finally:
        manager.stop(hard_stop=True)
        manager.destroy()
    _refuse_failures(manager, outputs, num_requests=len(names))
    return {name: outputs[name] for name in names}


def _wait_for(manager: ContinuousBatchingManager, count: int) -> dict[str, GenerationOutput]:
    """Collect ended requests until all have, or the generating thread is gone."""
    outputs: dict[str, GenerationOutput] = {}
    while len(outputs) < count:
        output = manager.get_result(timeout=POLL_S)
        if output is not None:
            outputs[output.request_id] = output
        elif not manager.is_running():
            break
    return outputs


def _refuse_failures(
    manager: ContinuousBatchingManager, outputs: dict[str, GenerationOutput], *, num_requests: int
) -> None:
    fatal = manager.background_thread_status.fatal_error
    if fatal is not None:
        raise fatal
    errors = [output.error for output in outputs.values() if output.error is not None]
    missing = num_requests - len(outputs)
    if errors or missing:
        raise TrialError(
            f"continuous batching lost {len(errors) + missing} of {num_requests} completions: "
            f"{errors[0] if errors else 'its thread ended without an error'}. Set "
            "trial.rollouts.engine to transformers."
        )


def _refuse_soft_capping(model: PreTrainedModel, name: str) -> None:
    """Refuse Gemma 2 and its like in eager attention, which they have on a GPU too.

    Training would cap what generation does not.
    """
    config = model.config.get_text_config()
    is_capped = getattr(config, "attn_logit_softcapping", None) is not None
    if is_capped and config._attn_implementation == "eager":
        raise TrialError(
            f"model {name!r} caps its attention scores, which continuous batching leaves out with "
            "eager attention: completions would come from another model than the one that is "
            "trained. Set trial.rollouts.engine to transformers or, on a GPU, "
            "trial.attn_implementation to flash_attention_2."
        )

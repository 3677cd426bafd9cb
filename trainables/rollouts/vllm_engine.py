"""Training rollouts with vLLM, through TRL: inside the trial's process, or in a server.

Config has refused quantized bases before this is reached. After every step TRL merges the adapter
into the base, hands vLLM all weights, and takes the adapter out again; ``keep_base_exact`` sees
to it that the base stays what it was. Written from TRL's and vLLM's sources; nothing of it has
run with vLLM yet.
"""

import importlib.util
import os
from typing import Any

import torch
from peft import PeftModel
from transformers import set_seed
from trl import GRPOTrainer

from strictune.config import TrialSpec
from strictune.errors import TrialError
from trainables.memory.allocator import stop_growing_segments
from trainables.rollouts.training_engine import TrainingEngine

__all__ = ["VllmRollouts", "keep_base_exact", "vllm_obstacle"]

LOOPBACK = "127.0.0.1"
"""Where a server is looked for; TRL's own default is every address."""
SERVER_OPTIONS = ("server_port", "group_port", "server_timeout")


class VllmRollouts(TrainingEngine):
    """TRL's ``use_vllm``."""

    def __init__(self, spec: TrialSpec, *, max_prompt_tokens: int) -> None:
        """Refuse where vLLM cannot run, or cannot hold the longest completion."""
        super().__init__(spec, max_prompt_tokens=max_prompt_tokens)
        self._options = spec.rollouts.vllm_options
        obstacle = vllm_obstacle()
        if obstacle is not None:
            raise TrialError(
                f"rollouts.engine = vllm: {obstacle} Or set trial.rollouts.engine to transformers "
                "or continuous_batching."
            )
        length = self._options.max_model_length
        if length is not None and length < self._max_tokens:
            raise TrialError(
                f"rollouts.vllm.max_model_length = {length}, but a prompt of {max_prompt_tokens} "
                f"tokens and its completion of {spec.max_completion_tokens} make "
                f"{self._max_tokens}: vLLM would cut completions off early. Raise it, or leave it "
                "out."
            )
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if self._options.enable_sleep_mode:
            stop_growing_segments()

    def arguments(self) -> dict[str, Any]:
        """Return TRL's ``vllm_...`` fields for the mode; the other mode's stay at TRL's."""
        options = self._options
        mode = {"use_vllm": True, "vllm_mode": options.mode}
        if options.mode == "server":
            given = {name: getattr(options, name) for name in SERVER_OPTIONS}
            return {
                **mode,
                "vllm_server_host": options.server_host or LOOPBACK,
                **{f"vllm_{name}": value for name, value in given.items() if value is not None},
            }
        return {
            **mode,
            # Of the whole GPU, as vLLM counts, while ours is of the trial's share of it.
            "vllm_gpu_memory_utilization": options.gpu_frac
            * torch.cuda.get_per_process_memory_fraction(),
            "vllm_max_model_length": options.max_model_length or self._max_tokens,
            "vllm_enable_sleep_mode": options.enable_sleep_mode,
        }

    def settle(self, trainer: GRPOTrainer) -> None:
        """Keep the base exact, and seed this process again: vLLM has started in it with seed 0."""
        keep_base_exact(trainer.model)
        if self._options.mode == "colocate":
            set_seed(self._spec.seed)

    def sampled_logps(self) -> None:
        """Return None: TRL has vLLM's."""


def keep_base_exact(model: PeftModel) -> None:
    """Put the base's weights back whenever the adapter is taken out of them.

    In bfloat16 adding the adapter and subtracting it again does not give the same weights. Over
    500 steps of a growing adapter the base of builtin:tiny drifts by 0.7% of its size, and with
    it the KL reference and what the stored adapter fits. The copy is in main memory.
    """
    kept = {
        parameter: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if ".base_layer." in name
    }
    take_out = model.unmerge_adapter

    def take_out_exactly() -> None:
        take_out()
        with torch.no_grad():
            for parameter, value in kept.items():
                parameter.copy_(value)

    model.unmerge_adapter = take_out_exactly


def vllm_obstacle() -> str | None:
    """Say why vLLM cannot run in this process and what would help, or None if it can."""
    if not torch.cuda.is_available():
        return (
            "it needs an NVIDIA GPU, and this process sees none. Run where there is one, with "
            "resources.gpus_per_trial above 0."
        )
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed. Install one that TRL works with: pip install 'trl[vllm]'."
    return None

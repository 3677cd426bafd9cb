"""Completions from the vLLM server that the trials of a base share, for training and evaluation.

Before each generation the adapter is written to this machine's disk and loaded under a name of
its own. The server rounds otherwise than the trainer, so TRL's loss weighs each token by its
truncated importance, as it does with vLLM of its own; the difference is reported.
"""

import random
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase
from trl import GRPOTrainer

from strictune.config import TrialSpec, VllmSpec
from trainables.rollouts.completion import Completion, decode_completion, stop_token_ids
from trainables.rollouts.served_base import ServedBase
from trainables.rollouts.training_engine import TrainingEngine
from trainables.rollouts.transformers_engine import Decoding
from trainables.rollouts.vllm_server import Adapter, VllmServer
from trainables.special_tokens import neutral_generation_config

__all__ = ["VllmEngine", "VllmRollouts"]

SEED_BITS = 31


class VllmRollouts(TrainingEngine):
    """Training rollouts."""

    def __init__(self, spec: TrialSpec, *, max_prompt_tokens: int, base: ServedBase) -> None:
        """Take the trial, and the base that must be served."""
        super().__init__(spec, max_prompt_tokens=max_prompt_tokens)
        self._served = base
        self.server: VllmServer | None = None
        """Found and checked at the first generation, unless one is put here."""

    def arguments(self) -> dict[str, Any]:
        """Truncate the importance of tokens, at TRL's own limit."""
        return {"vllm_importance_sampling_mode": "token_truncate"}

    def settle(self, trainer: GRPOTrainer) -> None:
        """Generate through the server, and correct for it as TRL does for its own."""
        self._trainer = trainer
        trainer.model.generate = self._generate
        # From here on it decides on the correction alone: the trainer generates as without it.
        # Below 1 the log-probabilities are of what ``top_p`` leaves, which TRL's loss does not
        # leave out.
        trainer.use_vllm = self._spec.grpo.top_p == 1

    def _generate(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        generation_config: GenerationConfig,
    ) -> torch.Tensor:
        """Return prompts and completions of the adapter as it is now: (B, P) -> (B, P + T)."""
        if self.server is None:
            server = VllmServer(self._spec.rollouts.vllm_options, model=self._served.name)
            server.check(num_tokens=self._max_tokens, location=self._served.location)
            self.server = server
        ends = generation_config.eos_token_id
        with tempfile.TemporaryDirectory(prefix="strictune-adapter-") as folder:
            self._trainer.model.save_pretrained(
                folder, selected_adapters=["default"], save_embedding_layers=False
            )
            sampled = self.server.complete(
                [
                    ids[mask.bool()].tolist()
                    for ids, mask in zip(input_ids, attention_mask, strict=True)
                ],
                Decoding(
                    temperature=generation_config.temperature,
                    top_p=generation_config.top_p,
                    max_new_tokens=generation_config.max_new_tokens,
                ),
                stop_ids=[ends] if isinstance(ends, int) else ends,
                # From torch's generator, which a checkpoint keeps.
                seeds=torch.randint(2**SEED_BITS, (len(input_ids),)).tolist(),
                adapter=Adapter(self._adapter_name(), Path(folder)),
            )
        if self._spec.grpo.top_p == 1:
            self.logps = [each.logps for each in sampled]
        completions = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(each.ids) for each in sampled],
            batch_first=True,
            padding_value=generation_config.pad_token_id,
        )  # (B, T)
        return torch.cat([input_ids, completions.to(input_ids.device)], dim=1)

    def _adapter_name(self) -> str:
        stage = Path(self._trainer.args.output_dir).name
        return _unique(f"{self._spec.trial_id}-{stage}-step-{self._trainer.state.global_step}")


class VllmEngine:
    """Evaluates the base, or an adapter on it."""

    def __init__(
        self,
        options: VllmSpec,
        base: ServedBase,
        tokenizer: PreTrainedTokenizerBase,
        *,
        adapter: Path | None,
        num_tokens: int,
    ) -> None:
        """Find the server.

        Args:
            options: The sweep file's.
            base: What must be served.
            tokenizer: The base's.
            adapter: Its folder.
            num_tokens: Of the longest prompt with its completion.

        Raises:
            TrialError: The server cannot be used.
            TrialPaused: It gave no answer for ``timeout_s``.
        """
        self._server = VllmServer(options, model=base.name)
        self._server.check(num_tokens=num_tokens, location=base.location)
        self._tokenizer = tokenizer
        self._stop_ids = stop_token_ids(tokenizer, neutral_generation_config(base.source.location))
        self._adapter = adapter

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        seed: int,
        on_progress: Callable[[int, int], None] | None = None,
        grammars: Sequence[str] | None = None,
    ) -> list[Completion]:
        """Return one completion for each prompt, in input order; see ``TransformersEngine``.

        The same prompts, seed and weights give the same text as far as vLLM's rounding allows,
        which depends on what else it computes at the time.
        """
        assert grammars is None
        draws = random.Random(seed)
        folder = self._adapter
        adapter = None if folder is None else Adapter(_unique(folder.name), folder)
        sampled = self._server.complete(
            self._tokenizer(list(prompts))["input_ids"],
            decoding,
            stop_ids=self._stop_ids,
            seeds=[draws.getrandbits(SEED_BITS) for _ in prompts],
            adapter=adapter,
            on_progress=on_progress,
        )
        return [
            decode_completion(self._tokenizer, each.ids, stop_ids=self._stop_ids)
            for each in sampled
        ]

    @property
    def grammar_problems(self) -> Mapping[str, str]:
        """None: it decodes freely."""
        return {}


def _unique(name: str) -> str:
    """Return a name that no other process and no later call uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"

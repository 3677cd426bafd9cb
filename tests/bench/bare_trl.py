"""GRPO as a short script writes it, with TRL alone: what ``bench_rollouts.py`` compares with."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

Mark = tuple[float, float, float]
"""Seconds, CPU seconds and generated tokens, all since some moment."""


def train(
    model: str, prompts: Sequence[str], *, nf4: bool, lora: Mapping[str, Any], **settings: Any
) -> list[Mark]:
    """Train, and return a mark for each optimizer step."""
    dtype, marks = torch.bfloat16 if settings["bf16"] else torch.float32, []

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            marks.append((time.perf_counter(), time.process_time(), tokens[0]))

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        tokens[0] += sum(map(len, completion_ids))
        return [len(set(completion)) / 100 for completion in completions]

    tokens, four_bits = (
        [0],
        BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
    )
    GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            model, dtype=dtype, quantization_config=four_bits if nf4 else None
        ),
        processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
        reward_funcs=reward,
        args=GRPOConfig(report_to="none", disable_tqdm=True, shuffle_dataset=False, **settings),
        train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        callbacks=[Marks()],
    ).train()
    return marks

"""How many processes train one trial together, and what they share out.

The names of the strategies are those of PyTorch and DeepSpeed. The engines and bases that no
strategy here was built for are refused, with what to do instead.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from strictune.config.base import Problem, Spec
from strictune.config.training import GrpoSpec

__all__ = ["DistributedSpec", "Strategy", "distributed_problems"]

Strategy = Literal["ddp", "fsdp", "zero3"]


class DistributedSpec(Spec):
    """The workers of a trial: processes, each with a GPU of its own where there are GPUs."""

    num_workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train the trial together. Each takes per_device_train_batch_size
    completions a pass, so a step has num_workers times as many."""
    strategy: Strategy = "ddp"
    """What the workers share out. ddp: the batch; each holds the whole model. fsdp and zero3: the
    weights and the optimizer too, by PyTorch and by DeepSpeed."""

    @property
    def identity(self) -> dict[str, Any]:
        """The options that can change a trial's results; none for one worker.

        Of several workers each samples completions with its own seed, so the same batch gets
        other completions.
        """
        return {} if self.num_workers == 1 else {"distributed": self.model_dump(mode="json")}


def distributed_problems(
    distributed: DistributedSpec,
    grpo: GrpoSpec,
    *,
    method: str,
    quantization: str,
    engine: str,
    interim_steps: Sequence[int],
) -> Iterator[Problem]:
    """Say why a trial cannot be trained by its workers, in keys of the trial."""
    yield from _group_problems(grpo, distributed.num_workers)
    if distributed.num_workers == 1:
        if distributed.strategy != "ddp":
            text = (
                f"= {distributed.strategy} shares a model out among workers, but num_workers = 1. "
                "Raise num_workers, or leave strategy out."
            )
            yield Problem("distributed.strategy", text)
        return
    if distributed.strategy != "ddp" and quantization != "none":
        text = (
            f"= {distributed.strategy}, but quantization = {quantization}: packed 4-bit weights "
            "cannot be cut into the shares of several workers. Set quantization to none, or "
            "strategy to ddp."
        )
        yield Problem("distributed.strategy", text)
    if method == "grpo" and grpo.flat_groups == "resample":
        text = (
            f"= resample, but distributed.num_workers = {distributed.num_workers}: workers would "
            "generate for different numbers of prompts. Use drop, or one worker."
        )
        yield Problem("grpo.flat_groups", text)
    if method == "grpo" and not _generates(engine, distributed.strategy):
        text = (
            f"= {engine}, which generates in no trial of several workers"
            f"{'' if engine == 'vllm' else f' with strategy = {distributed.strategy}'}. Set engine "
            "to transformers, or distributed.num_workers to 1."
        )
        yield Problem("rollouts.engine", text)
    if interim_steps:
        text = "pause a trial, which one of several workers cannot do. Set num_workers to 1."
        yield Problem("interim_steps", text)


def _group_problems(grpo: GrpoSpec, num_workers: int) -> Iterator[Problem]:
    completions = grpo.completions_per_step * num_workers
    if completions % grpo.num_generations == 0:
        return
    factors = ["per_device_train_batch_size", "gradient_accumulation_steps"]
    numbers = [grpo.per_device_train_batch_size, grpo.gradient_accumulation_steps]
    if num_workers > 1:
        factors, numbers = ["num_workers", *factors], [num_workers, *numbers]
    yield Problem(
        "grpo.num_generations",
        f"= {grpo.num_generations} does not divide the completions of one optimizer step, "
        f"{' x '.join(factors)} = {' x '.join(map(str, numbers))} = {completions}. Groups must "
        "fill the step: change one of them.",
    )


def _generates(engine: str, strategy: Strategy) -> bool:
    """Whether an engine is supported with several workers."""
    return engine == "transformers" or (engine == "continuous_batching" and strategy == "ddp")

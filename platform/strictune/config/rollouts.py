"""How training completions are generated: the engine, and what an engine lets one choose.

Evaluations are no part of it. They run on ``transformers`` whatever a trial trains with, so that
trials with different engines share one baseline and one evaluation key.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from strictune.config.base import Problem, Spec, refuse

__all__ = ["ContinuousBatchingSpec", "Engine", "RolloutsSpec", "VllmSpec", "rollout_problems"]

Engine = Literal["transformers", "continuous_batching", "vllm"]

COLOCATE_ONLY = ("memory_frac", "max_model_length", "enable_sleep_mode")
SERVER_ONLY = ("server_host", "server_port", "group_port", "server_timeout")
VLLM_MEMORY_FRAC = 0.4
OTHER_ENGINES = "engine to transformers or continuous_batching"


class VllmSpec(Spec):
    """Where vLLM runs, and with what share of the GPU; names are TRL's without ``vllm_``."""

    mode: Literal["colocate", "server"] = "colocate"
    """Inside the trial's process, on its share of the GPU, or in a server that is running."""
    memory_frac: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Colocate: part of the trial's share of the GPU that vLLM takes for weights and cache; the
    rest trains. Null is 0.4."""
    max_model_length: Annotated[int, Field(ge=1)] | None = None
    """Colocate: tokens of a prompt and its completion together; null is the most that the task
    and the trial allow."""
    enable_sleep_mode: bool = False
    """Colocate: give vLLM's memory back while the trial computes gradients; each step then loads
    the weights again."""
    server_host: Annotated[str, Field(min_length=1)] | None = None
    """Server: where it runs; null is 127.0.0.1."""
    server_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Server: its port; null is 8000."""
    group_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Server: the port that new weights travel through, one for each server of a machine; null
    is 51216."""
    server_timeout: Annotated[float, Field(gt=0)] | None = None
    """Server: seconds that a trial waits for it to answer; null is 240."""

    @model_validator(mode="after")
    def _options_fit_the_mode(self) -> Self:
        foreign = SERVER_ONLY if self.mode == "colocate" else COLOCATE_ONLY
        other = "server" if self.mode == "colocate" else "colocate"
        refuse(
            [
                Problem(
                    name,
                    f"= {str(getattr(self, name)).lower()}, but mode = {self.mode} does not read "
                    f"it. Set mode to {other}, or remove {name}.",
                )
                for name in foreign
                if getattr(self, name) not in (None, False)
            ]
        )
        return self

    @property
    def gpu_frac(self) -> float:
        """Part of the trial's share of the GPU that vLLM takes in the trial's process."""
        if self.mode == "server":
            return 0.0
        return self.memory_frac or VLLM_MEMORY_FRAC


class ContinuousBatchingSpec(Spec):
    """CUDA graphs of continuous batching, by transformers' names; a CPU has none."""

    use_cuda_graph: bool | None = None
    """Replay captured kernels instead of launching each of them. Null lets transformers choose:
    with flash attention, or where an interval is set."""
    q_padding_interval_size: Annotated[int, Field(ge=1)] | None = None
    """Tokens of a pass are padded to a multiple of it, each with a graph of its own; null is 64."""
    kv_padding_interval_size: Annotated[int, Field(ge=1)] | None = None
    """The same for cached tokens; null is 16,384."""


class RolloutsSpec(Spec):
    """How training completions are generated; evaluations always use ``transformers``."""

    engine: Engine = "transformers"
    """Generation engine. ``transformers`` and ``continuous_batching`` run everywhere; ``vllm``
    needs an NVIDIA GPU and a base that is not quantized."""
    weights: Literal["merged", "adapter"] = "merged"
    """What all but ``vllm`` generate from, in evaluations too: a plain copy of the model with the
    adapter merged in, or the quantized base with the adapter beside it: slower, smaller."""
    vllm: VllmSpec | None = None
    """Options of vllm; null takes their defaults."""
    continuous_batching: ContinuousBatchingSpec | None = None
    """Options of continuous_batching; null takes their defaults."""

    @model_validator(mode="after")
    def _options_fit_the_engine(self) -> Self:
        refuse(
            [
                Problem(
                    name,
                    f"is set, but engine = {self.engine} does not read it. Set engine to {name}, "
                    "or remove the block.",
                )
                for name in ("vllm", "continuous_batching")
                if getattr(self, name) is not None and self.engine != name
            ]
        )
        return self

    @property
    def vllm_options(self) -> VllmSpec:
        """The options of vllm, its defaults where the file gives none."""
        return self.vllm or VllmSpec()

    @property
    def cuda_graph_options(self) -> dict[str, bool | int]:
        """The options of continuous batching that the file gives."""
        if self.continuous_batching is None:
            return {}
        return self.continuous_batching.model_dump(exclude_none=True)

    @property
    def identity(self) -> dict[str, Any]:
        """The options that can change a trial's results.

        Left out is where a server answers and how memory is shared. Its being a server is not:
        a server may have been started with other settings than a trial would choose.
        """
        is_served = self.engine == "vllm" and self.vllm_options.mode == "server"
        return (
            {"engine": self.engine}
            | ({"vllm_mode": "server"} if is_served else {})
            | ({"weights": self.weights} if self.weights != "merged" else {})
        )


def rollout_problems(
    rollouts: RolloutsSpec, *, quantization: str, dtype: str, max_completion_tokens: int
) -> list[Problem]:
    """Say why a trial cannot generate with its engine, in keys of the trial."""
    if rollouts.engine != "vllm":
        return []
    problems = []
    if quantization != "none":
        problems.append(
            Problem(
                "rollouts.engine",
                f"= vllm, but quantization = {quantization}: TRL sends vLLM the packed 4-bit "
                "weights and vLLM refuses their shapes (huggingface/trl#4973). Set quantization to "
                f"none, which keeps the base in bfloat16, or {OTHER_ENGINES}.",
            )
        )
    if dtype not in ("auto", "bfloat16"):
        problems.append(
            Problem(
                "rollouts.engine",
                f"= vllm, but dtype = {dtype}: vLLM generates from a bfloat16 base, and would not "
                f"be given what is trained. Set dtype to bfloat16, or {OTHER_ENGINES}.",
            )
        )
    length = rollouts.vllm_options.max_model_length
    if length is not None and length <= max_completion_tokens:
        problems.append(
            Problem(
                "rollouts.vllm.max_model_length",
                f"= {length} leaves no room for a prompt: a completion alone may have "
                f"{max_completion_tokens} tokens. Raise it, or leave it out.",
            )
        )
    return problems

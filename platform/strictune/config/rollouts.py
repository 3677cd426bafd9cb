"""How completions are generated: the engine, and what an engine lets one choose.

Evaluations and baselines use vLLM where a trial does, and ``transformers`` otherwise.
"""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from strictune.config.base import Problem, Spec, refuse

__all__ = ["ContinuousBatchingSpec", "Engine", "RolloutsSpec", "VllmSpec"]

Engine = Literal["transformers", "continuous_batching", "vllm"]

STARTED_ONLY = ("command", "arguments", "gpu_memory_utilization")


class VllmSpec(Spec):
    """The vLLM server that all trials of a base share: one that the sweep starts, or a given one.

    It lives in an environment of its own; nothing of vLLM is imported here.
    """

    command: Annotated[str, Field(min_length=1)] | None = None
    """What starts it, before ``serve``. Null is the environment variable STRICTUNE_VLLM, or
    ``vllm`` on the PATH."""
    arguments: tuple[str, ...] = ()
    """Further arguments of ``vllm serve``, e.g. ``[--enforce-eager]``."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Its share of a GPU, for weights and cache; trials are packed into the rest. Null is 0.3."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")] | None = None
    """A server that runs already, e.g. ``http://127.0.0.1:8000/v1``. It must read the folder for
    temporary files of the machines that run trials."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = (
        "STRICTUNE_VLLM_API_KEY"
    )
    """The environment variable that holds the key of ``base_url``; the key itself is never
    written anywhere. Without the variable no key is sent."""
    timeout_s: Annotated[float, Field(gt=0)] = 1800.0
    """How long a trial waits for one completion, or for a server that is away, before it
    pauses."""

    @model_validator(mode="after")
    def _options_fit_the_server(self) -> Self:
        if self.base_url is None:
            return self
        problems = [
            Problem(
                name,
                "is set, but the server of base_url is started by nobody here. Remove one of the "
                "two.",
            )
            for name in STARTED_ONLY
            if getattr(self, name)
        ]
        parts = urlsplit(self.base_url)
        if "@" in self.base_url or parts.query or parts.fragment:
            text = (
                "holds a user, a password or a query, which would be written into every record. "
                f"Put the key into the environment variable {self.api_key_env} instead."
            )
            problems.append(Problem("base_url", text))
        refuse(*problems)
        return self

    @property
    def gpu_frac(self) -> float:
        """The share of a GPU that a server takes which the sweep starts."""
        return self.gpu_memory_utilization or VLLM_GPU_FRAC


VLLM_GPU_FRAC = 0.3


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
    """Which engine generates completions, and its options."""

    engine: Engine = "transformers"
    """Generation engine. ``transformers`` and ``continuous_batching`` run in the trial's process;
    ``vllm`` is a server beside the trials. Evaluations use vllm too, and transformers otherwise."""
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
            *[
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
        """The options that can change a trial's results; where a server answers cannot."""
        is_read = self.engine != "vllm" and self.weights != "merged"
        return {"engine": self.engine} | ({"weights": self.weights} if is_read else {})

    @property
    def evaluation_engine(self) -> Literal["transformers", "vllm"]:
        """What evaluations and baselines generate with."""
        return "vllm" if self.engine == "vllm" else "transformers"

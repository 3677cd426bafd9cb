"""Which judge a sweep asks, and how hard it may be asked."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

__all__ = ["LIMITS", "JudgeSettings", "LexicalSettings", "OpenAiSettings"]

LIMITS = ("max_concurrent_calls", "requests_per_minute", "tokens_per_minute")
"""What the trials of a sweep may ask of a judge together."""

Positive = Annotated[float, Field(gt=0)]


_DECIDES = {
    "kind",
    "model",
    "temperature",
    "max_tokens",
    "extra_body",
    "rubric_calls",
    "structured_output",
}


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class LexicalSettings(_Settings):
    """A judge without a model: it counts words, for made-up rows and tests."""

    kind: Literal["lexical"] = "lexical"
    """Counts words; deterministic and offline."""

    def identity(self) -> dict[str, Any]:
        """Return what can change its scores."""
        return self.model_dump(mode="json")


class OpenAiSettings(_Settings):
    """A model behind an OpenAI-compatible endpoint: vLLM, transformers serve, a hosted service."""

    kind: Literal["openai"]
    """Asks ``<base_url>/chat/completions``."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    """Where it answers, e.g. ``http://judge:8000/v1``."""
    model: Annotated[str, Field(min_length=1)]
    """The name that the endpoint serves it under."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = (
        "STRICTUNE_JUDGE_API_KEY"
    )
    """The environment variable that holds the key, on every machine that runs trials; the key
    itself is never written anywhere. Without the variable no key is sent."""
    rubric_calls: Literal["each", "joint"] = "each"
    """One call for each rubric, the shared text first, so that servers reuse its prefix; or one
    call for all rubrics of an answer: cheaper, and scores lean on each other."""
    structured_output: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    """How the endpoint is told to answer in JSON; auto finds out when the trial starts."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Of the judge."""
    max_tokens: Annotated[int, Field(ge=16)] = 512
    """Of one reply, its reasoning included."""
    extra_body: dict[str, JsonValue] = {}
    """Further keys of each request, e.g. ``chat_template_kwargs: {enable_thinking: false}``."""
    max_concurrent_calls: Annotated[int, Field(ge=1, le=4096)] = 64
    """Calls of the sweep that are open at the same time; its trials share them."""
    requests_per_minute: Positive | None = None
    """Budget of the sweep; null is no limit."""
    tokens_per_minute: Positive | None = None
    """Budget of the sweep, prompts and replies together; null is no limit."""
    call_timeout_s: Positive = 60.0
    """A call that takes longer is given up and tried again."""
    batch_deadline_s: Positive = 600.0
    """What a training batch has no answer to by then is missing; an evaluation goes on for as long
    as answers come in such a time. Keep it below ``resources.step_timeout_s``."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 4
    """Further tries of a call that failed in a way that may pass."""
    startup_timeout_s: Annotated[float, Field(ge=0)] = 120.0
    """How long a trial waits at its start for a judge that does not answer yet."""
    max_failure_frac: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The trial fails when a larger share of the latest calls has failed."""
    use_cache: bool = True
    """Keep answers on disk, by address and question, shared by all trials of this user on a
    machine."""
    usd_per_million_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0
    """For the cost that is recorded."""
    usd_per_million_completion_tokens: Annotated[float, Field(ge=0)] = 0.0
    """For the cost that is recorded."""

    def identity(self) -> dict[str, Any]:
        """Return what can change its scores: who is asked and how, not where or how hard."""
        return self.model_dump(mode="json", include=_DECIDES)

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        parts = urlsplit(self.base_url)
        # A "#" in a password ends the part of the address that urlsplit takes users from.
        if "@" in self.base_url or parts.query or parts.fragment:
            raise ValueError(
                "base_url holds a user, a password or a query, which would be written into every "
                f"record. Put the key into the environment variable {self.api_key_env} instead."
            )
        return self


JudgeSettings = Annotated[LexicalSettings | OpenAiSettings, Field(discriminator="kind")]
"""One class for each kind of judge."""

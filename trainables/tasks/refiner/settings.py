"""The settings of the refiner: what a sweep file says under ``task``.

Reading a sweep file reads no rows and asks no judge.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from trainables.tasks.base_settings import BaseSettings, Component

__all__ = [
    "COMPONENT",
    "CRITERIA",
    "DIFFICULTIES",
    "MEASURES",
    "JudgeSettings",
    "LexicalSettings",
    "OpenAiSettings",
    "RefinerSettings",
    "RewardSettings",
]

COMPONENT = "composite"
"""The one reward component: with two, a missing one would leave the other as the whole reward."""
CRITERIA = ("answered", "cited", "supported", "satisfied")
DIFFICULTIES = ("few", "several", "many")
MEASURES = (
    "rubric_mean",
    "citation_precision",
    "citation_recall",
    "citation_f1",
    "invalid_id_frac",
    "num_claims",
    "answer_chars",
)

LIMITS = ("max_concurrent_calls", "requests_per_minute", "tokens_per_minute")
"""What the trials of a sweep may ask of a judge together."""
DECIDING = {
    "kind",
    "model",
    "temperature",
    "max_tokens",
    "extra_body",
    "rubric_calls",
    "structured_output",
}
"""Settings of a judge that can change its scores."""

Positive = Annotated[float, Field(gt=0)]


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
        return self.model_dump(mode="json", include=DECIDING)

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


class RewardSettings(_Settings):
    """The reward of one completion: scale x (rubric mean + citation weight x citation F1)."""

    scale: Annotated[float, Field(gt=0)] = 10.0
    """Factor on everything but the penalty."""
    citation_weight: Annotated[float, Field(ge=0)] = 0.2
    """Weight of citation F1 against the rubric mean's 1."""
    instance_rubrics_only: bool = False
    """Leave the three static rubrics out of training; evaluations always ask them."""
    gate_by_format: bool = False
    """An answer below the criterion ``cited`` earns 0, and no judge is asked about it."""
    non_stop_penalty: Annotated[float, Field(le=0)] | None = None
    """Replaces the reward of a completion that the token limit ended; null replaces nothing."""


class RefinerSettings(BaseSettings):
    """Which rows, which judges, and how a reward is put together."""

    criteria: ClassVar[tuple[str, ...]] = CRITERIA
    reward_table: ClassVar[Mapping[str, Component]] = MappingProxyType(
        {COMPONENT: Component(1.0, is_decisive=True)}
    )
    """Its parts are weighed under ``reward``."""
    difficulties: ClassVar[tuple[str, ...]] = DIFFICULTIES

    paths: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    budgets: ClassVar[tuple[str, ...]] = tuple(
        f"{judge}.{limit}" for judge in ("judge", "holdout_judge") for limit in LIMITS
    )

    kind: Literal["refiner"]
    """Turn an agent's reasoning and search output into a short answer with citations."""
    train: str | None = None
    """Training rows: a JSONL or Parquet file, or ``hub:<data set>@<split>``. Null, for all three
    splits, makes small rows up."""
    validation: str | None = None
    """Rows to choose by."""
    test: str | None = None
    """Rows for the final evaluation."""
    data_seed: int = 0
    """Made-up rows are a function of this seed and the sizes below."""
    num_train_rows: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """Of made-up rows."""
    num_eval_rows: Annotated[int, Field(ge=1, le=10_000)] = 240
    """Of made-up rows, in validation and in test each."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 6144
    """Longer prompts are dropped from training and refused in evaluation."""
    judge: JudgeSettings = LexicalSettings()
    """Who scores training completions."""
    holdout_judge: JudgeSettings | None = None
    """Who scores evaluations, so that a policy that games its judge shows; null is ``judge``."""
    reward: RewardSettings = RewardSettings()
    """How scores become a reward."""
    pass_rubric_mean: Annotated[float, Field(ge=0, le=1)] = 0.75
    """From here on a supported answer is on the criterion ``satisfied``."""
    pass_citation_f1: Annotated[float, Field(ge=0, le=1)] = 0.75
    """From here on a cited answer is on the criterion ``supported``."""

    @model_validator(mode="after")
    def _splits_come_together(self) -> Self:
        given = {name: getattr(self, name) for name in ("train", "validation", "test")}
        missing = [name for name, source in given.items() if source is None]
        if 0 < len(missing) < len(given):
            raise ValueError(
                f"names rows for some splits but not for {' and '.join(missing)}. Name all of "
                "train, validation and test, or none of them for made-up rows."
            )
        return self

    @property
    def evaluation_judge(self) -> JudgeSettings:
        """Who scores evaluations."""
        return self.holdout_judge or self.judge

    def identity(self) -> dict[str, Any]:
        """Return all but how hard and where the judges are asked."""
        own = self.model_dump(mode="json", exclude={"judge", "holdout_judge"})
        return own | {
            "judge": self.judge.identity(),
            "holdout_judge": self.evaluation_judge.identity(),
        }

    def measure(self) -> dict[str, Any]:
        """Return which rows evaluations ask, who judges them, and what passes."""
        names = {"pass_rubric_mean", "pass_citation_f1"}
        names |= {"data_seed", "num_eval_rows"} if self.test is None else {"validation", "test"}
        judge = self.evaluation_judge.identity()
        return self.model_dump(mode="json", include=names) | {"holdout_judge": judge}

    def scoring(self) -> dict[str, Any]:
        """Return who judges evaluations, and what passes."""
        return self.model_dump(mode="json", include={"pass_rubric_mean", "pass_citation_f1"}) | {
            "judge": self.evaluation_judge.identity()
        }

"""Settings of the refiner: the ``task`` block of a sweep file.

Loading a sweep file neither reads rows nor calls a judge.
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
"""The only reward component: if there were two and one was missing, TRL would pay the other
alone."""
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
"""Limits on the use of a judge that all trials of a sweep share."""
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
    """A judge without a model, which counts words; for made-up rows and tests."""

    kind: Literal["lexical"] = "lexical"
    """Counts words; deterministic and offline."""

    def identity(self) -> dict[str, Any]:
        """Return what can change its scores."""
        return self.model_dump(mode="json")


class OpenAiSettings(_Settings):
    """A model behind an OpenAI-compatible endpoint: vLLM, transformers serve, a hosted service."""

    kind: Literal["openai"]
    """A server that answers ``<base_url>/chat/completions``."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    """The address of the endpoint, e.g. ``http://judge:8000/v1``."""
    model: Annotated[str, Field(min_length=1)]
    """The name under which the endpoint serves the model."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = (
        "STRICTUNE_JUDGE_API_KEY"
    )
    """The environment variable that holds the API key, on every machine that runs trials. The key
    itself is never written anywhere. If the variable is not set, no key is sent."""
    rubric_calls: Literal["each", "joint"] = "each"
    """each makes one call for each rubric, with the shared text first so that servers can reuse the
    prefix; joint makes one call for all rubrics of an answer: cheaper, but the scores influence
    each other."""
    structured_output: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    """How the endpoint is asked to answer in JSON; auto finds out when the trial starts."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Sampling temperature of the judge."""
    max_tokens: Annotated[int, Field(ge=16)] = 512
    """Maximum number of tokens of a reply, including its reasoning."""
    extra_body: dict[str, JsonValue] = {}
    """Further keys of each request, e.g. ``chat_template_kwargs: {enable_thinking: false}``."""
    max_concurrent_calls: Annotated[int, Field(ge=1, le=4096)] = 64
    """Maximum number of open calls, shared by the trials of the sweep."""
    requests_per_minute: Positive | None = None
    """Limit on requests, shared by the trials of the sweep; null is no limit."""
    tokens_per_minute: Positive | None = None
    """Limit on prompt and reply tokens, shared by the trials of the sweep; null is no limit."""
    call_timeout_s: Positive = 60.0
    """A call that takes longer is cancelled and retried."""
    batch_deadline_s: Positive = 600.0
    """Time limit of a training batch; questions without an answer by then are missing. An
    evaluation is given up only if no answer arrives for this long. Keep it below
    ``resources.step_timeout_s``."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 4
    """Maximum number of retries of a call that failed for a temporary reason."""
    startup_timeout_s: Annotated[float, Field(ge=0)] = 120.0
    """How long a starting trial waits for a judge that does not answer yet."""
    max_failure_frac: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The trial fails if a larger share of the latest calls failed."""
    use_cache: bool = True
    """Keep answers on disk, by address and question, for all trials of this user on a machine."""
    usd_per_million_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0
    """Price of prompt tokens, for the recorded cost."""
    usd_per_million_completion_tokens: Annotated[float, Field(ge=0)] = 0.0
    """Price of completion tokens, for the recorded cost."""

    def identity(self) -> dict[str, Any]:
        """Return what can change its scores: neither its address nor any limit."""
        return self.model_dump(mode="json", include=DECIDING)

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        parts = urlsplit(self.base_url)
        # urlsplit does not find the user if the password contains a "#".
        if "@" in self.base_url or parts.query or parts.fragment:
            raise ValueError(
                "base_url holds a user, a password or a query, which would be written into every "
                f"record. Put the key into the environment variable {self.api_key_env} instead."
            )
        return self


JudgeSettings = Annotated[LexicalSettings | OpenAiSettings, Field(discriminator="kind")]
"""The settings of a judge, chosen by ``kind``."""


class RewardSettings(_Settings):
    """The reward of one completion: scale x (rubric mean + citation weight x citation F1)."""

    scale: Annotated[float, Field(gt=0)] = 10.0
    """Factor on the whole reward except ``non_stop_penalty``."""
    citation_weight: Annotated[float, Field(ge=0)] = 0.2
    """Weight of citation F1, relative to 1 for the rubric mean."""
    instance_rubrics_only: bool = False
    """Leave the three static rubrics out of training; evaluations always include them."""
    gate_by_format: bool = False
    """Give an answer below the criterion ``cited`` a reward of 0 without asking a judge."""
    non_stop_penalty: Annotated[float, Field(le=0)] | None = None
    """Reward of every completion that reached the token limit; null computes it as usual."""


class RefinerSettings(BaseSettings):
    """Which rows and which judges to use, and how the reward is computed."""

    criteria: ClassVar[tuple[str, ...]] = CRITERIA
    reward_table: ClassVar[Mapping[str, Component]] = MappingProxyType(
        {COMPONENT: Component(1.0, is_decisive=True)}
    )
    """A single component; ``reward`` sets the weights of its parts."""
    difficulties: ClassVar[tuple[str, ...]] = DIFFICULTIES

    paths: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    budgets: ClassVar[tuple[str, ...]] = tuple(
        f"{judge}.{limit}" for judge in ("judge", "holdout_judge") for limit in LIMITS
    )

    kind: Literal["refiner"]
    """Turn an agent's reasoning and search output into a short answer with citations."""
    train: str | None = None
    """Training rows: a JSONL or Parquet file, or ``hub:<data set>@<split>``. If train, validation
    and test are all null, small rows are made up."""
    validation: str | None = None
    """Rows for validation."""
    test: str | None = None
    """Rows for the final evaluation."""
    data_seed: int = 0
    """Seed of the made-up rows, which depend on it and on the sizes below only."""
    num_train_rows: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """Number of made-up training rows."""
    num_eval_rows: Annotated[int, Field(ge=1, le=10_000)] = 240
    """Number of made-up rows in validation and in test each."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 6144
    """Longer prompts are dropped from training and refused in evaluation."""
    judge: JudgeSettings = LexicalSettings()
    """The judge that scores training completions."""
    holdout_judge: JudgeSettings | None = None
    """The judge that scores evaluations; null uses ``judge``. A different one reveals a policy that
    exploits its training judge."""
    reward: RewardSettings = RewardSettings()
    """How the reward is computed from scores."""
    pass_rubric_mean: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Lowest rubric mean at which a supported answer meets the criterion ``satisfied``."""
    pass_citation_f1: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Lowest citation F1 at which a cited answer meets the criterion ``supported``."""

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
        """The judge that scores evaluations."""
        return self.holdout_judge or self.judge

    def identity(self) -> dict[str, Any]:
        """Return all settings except the judges' addresses and limits."""
        own = self.model_dump(mode="json", exclude={"judge", "holdout_judge"})
        return own | {
            "judge": self.judge.identity(),
            "holdout_judge": self.evaluation_judge.identity(),
        }

    def measure(self) -> dict[str, Any]:
        """Return which rows evaluations use, which judge scores them, and what passes."""
        names = {"pass_rubric_mean", "pass_citation_f1"}
        names |= {"data_seed", "num_eval_rows"} if self.test is None else {"validation", "test"}
        judge = self.evaluation_judge.identity()
        return self.model_dump(mode="json", include=names) | {"holdout_judge": judge}

    def scoring(self) -> dict[str, Any]:
        """Return which judge scores evaluations, and what passes."""
        return self.model_dump(mode="json", include={"pass_rubric_mean", "pass_citation_f1"}) | {
            "judge": self.evaluation_judge.identity()
        }

"""The settings of the refiner: what a sweep file says under ``task``.

Reading a sweep file reads no rows and asks no judge.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.tasks.base_settings import BaseSettings, Component
from trainables.tasks.refiner.judge_settings import LIMITS, JudgeSettings, LexicalSettings

__all__ = ["COMPONENT", "CRITERIA", "DIFFICULTIES", "MEASURES", "RefinerSettings", "RewardSettings"]

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


class RewardSettings(BaseModel):
    """The reward of one completion: scale x (rubric mean + citation weight x citation F1)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

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

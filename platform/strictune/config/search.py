"""The ``search`` block of a sweep file: one Optuna study inside each cell of the matrix.

A point of a study is one choice of settings, trained once with each seed of the matrix. It is
measured on the validation split only; the winner of a study is trained again with fresh seeds
beside the settings of its cell, and only these trials open the final split.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from strictune.addresses import has_password
from strictune.config.base import Problem, Spec, distinct, refuse
from strictune.config.settings import Settings

__all__ = [
    "PROMPT_MEANS",
    "ConfirmSpec",
    "DimensionSpec",
    "ObjectiveSpec",
    "SchedulerSpec",
    "SearchSpec",
    "SimplexSpec",
    "SpaceSpec",
]


PROMPT_MEANS = {
    "eval/completion_tokens/mean": "num_tokens",
    "eval/think_rate": "is_thinking",
    "eval/truncated_frac": "is_truncated",
}
"""Metrics that are means over prompts, beside ``eval/<criterion>/pass_at_1``, by their column."""


class SimplexSpec(Spec):
    """Reward weights that add up to 1, drawn evenly over all such vectors.

    One component fewer than there are is drawn, because the scale of weights means nothing.
    """

    components: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(distinct)] | None = (
        None
    )
    """What shares the weight, all others have none; null takes every component that can be earned
    in the cell."""
    min_weight: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Least weight of a component that is not zeroed."""
    may_be_zero: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
    """Components that a point may leave out altogether; a decisive one needs
    ``trial.allow_ties``."""


class DimensionSpec(Spec):
    """One searched setting: a range or a list of choices."""

    low: float | int | None = None
    """Least value of a range; whole numbers when both ends are."""
    high: float | int | None = None
    """Greatest value of a range."""
    log: bool = False
    """Draw evenly on a logarithmic scale."""
    choices: Annotated[tuple[JsonValue, ...], Field(min_length=1)] | None = None
    """The values of a list."""
    when: dict[str, Annotated[tuple[JsonValue, ...], Field(min_length=1)]] | None = None
    """Search it only where other searched settings have one of these values, e.g.
    ``{grpo.multi_objective_aggregation: [sum_then_normalize]}``; else it keeps the cell's."""

    @property
    def is_whole(self) -> bool:
        """Whether the range is one of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @model_validator(mode="after")
    def _is_range_or_list(self) -> Self:
        has_range = self.low is not None or self.high is not None
        if has_range == (self.choices is not None):
            refuse(Problem("", "needs either choices, or low and high."))
        if has_range:
            refuse(*self._range_problems())
        return self

    def _range_problems(self) -> Iterator[Problem]:
        if self.low is None or self.high is None:
            yield Problem("", "has one end of a range; give low and high.")
        elif self.low >= self.high:
            yield Problem("low", f"= {self.low:g} is not below high = {self.high:g}.")
        elif self.log and self.low <= 0:
            yield Problem("low", f"= {self.low:g} has no logarithm; raise it above 0.")


class SpaceSpec(Spec):
    """What a point chooses."""

    rewards: SimplexSpec | None = None
    """Reward weights of the cell; null keeps them."""
    stage_rewards: Annotated[dict[str, SimplexSpec], Field(default_factory=dict)]
    """Reward weights of single stages of the cell's curriculum, by the stage's name."""
    settings: Annotated[dict[str, DimensionSpec], Field(default_factory=dict)]
    """Other settings below ``trial``, by dotted key, e.g. ``grpo.beta``, or of the task, e.g.
    ``task.reward.scale``."""

    @model_validator(mode="after")
    def _has_dimensions(self) -> Self:
        if not (self.rewards or self.stage_rewards or self.settings):
            refuse(Problem("", "is empty. Give rewards, stage_rewards or settings."))
        names = list(self.settings)
        text = "names no setting that stands above it. Move that one up, or add it."
        refuse(
            *(
                Problem(f"settings.{key}.when.{other}", text)
                for index, (key, dimension) in enumerate(self.settings.items())
                for other in dimension.when or ()
                if other not in names[:index]
            )
        )
        return self


class ObjectiveSpec(Spec):
    """One metric that a study optimizes."""

    metric: Annotated[str, Field(min_length=1)]
    """A key of ``metrics.jsonl``, e.g. ``eval/strict/pass_at_1``; the trial's last value."""
    mode: Literal["max", "min"]
    """Which way is better."""


class SchedulerSpec(Spec):
    """Early stopping inside one study, on the validation split."""

    kind: Literal["none", "watch", "asha", "median", "dominated"] = "none"
    """watch evaluates and stops nothing, so that the rules can be replayed on its points;
    asha and median are Optuna's pruners, for one objective; dominated stops a point that is
    beaten with confidence, on the same prompts: by the median point, or, with several objectives,
    by one that is better in all of them."""
    min_steps: Annotated[int, Field(ge=1)] = 1
    """Steps before the first interim evaluation."""
    reduction_factor: Annotated[int, Field(ge=2)] = 2
    """Interim evaluations are at min_steps times its powers; asha keeps one in so many at each."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Of dominated: chance of a wrong stop of a point, over all its interim evaluations."""

    def interim_steps(self, max_steps: int) -> tuple[int, ...]:
        """Return the steps at which a trial of ``max_steps`` is evaluated in between."""
        if self.kind == "none":
            return ()
        steps = []
        step = self.min_steps
        while step < max_steps:
            steps.append(step)
            step *= self.reduction_factor
        return tuple(steps)


class ConfirmSpec(Spec):
    """How the winner of a study is trained again: the best of many is biased upward."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(min_length=1)] = (
        101,
        102,
        103,
    )
    """Fresh seeds; three or more decide about recipes."""
    against: Annotated[tuple[Literal["default", "first"], ...], Field(min_length=1)] = ("default",)
    """What the winner is trained beside: the cell's own settings, the study's first point."""


class SearchSpec(Spec):
    """One study in each cell; the seeds of the matrix are those of every point."""

    space: SpaceSpec
    """What is searched."""
    num_trials: Annotated[int, Field(ge=1)]
    """Points of each study."""
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    """Optuna's: multivariate TPE with constant liar, Gaussian process, or even draws."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler."""
    num_startup_trials: Annotated[int, Field(ge=0)] = 8
    """Even draws before the sampler models anything."""
    first: tuple[Settings, ...] = ({},)
    """Settings of the first points, on top of the cell's; {} is the cell itself."""
    objectives: Annotated[tuple[ObjectiveSpec, ...], Field(min_length=1)] | None = None
    """Null is Pass@1 of the primary criterion on the validation split."""
    constraint: Literal["no_difficulty_worse"] | None = None
    """no_difficulty_worse: a point is infeasible where a difficulty's primary criterion is
    significantly below the baseline's (Holm over the difficulties)."""
    scheduler: SchedulerSpec = SchedulerSpec()
    """Early stopping."""
    warm_start: tuple[str, ...] = ()
    """Folders of earlier sweeps whose finished points the studies begin with. Of a sweep in which
    only the model differs, ``num_startup_trials`` points, from its best to its worst, are measured
    again in the place of even draws."""
    storage: str | None = None
    """Optuna storage URL, without a password; null is ``study.db`` in the sweep's folder."""
    confirm: ConfirmSpec | None = ConfirmSpec()
    """Null trains no winner again, and then nothing is said of one."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.storage is not None and has_password(self.storage):
            text = (
                "holds a password, and sweep files are copied. Give it as PGPASSWORD or the like."
            )
            refuse(Problem("storage", text))
        num_objectives = len(self.objectives or (None,))
        kind = self.scheduler.kind
        if kind in ("asha", "median") and num_objectives > 1:
            text = f"= {kind} takes one objective, and there are {num_objectives}. Use dominated."
            refuse(Problem("scheduler.kind", text))
        for index, objective in enumerate(self.objectives or ()):
            if kind != "none" and not objective.metric.startswith("eval/"):
                text = f"= {objective.metric} is not measured in between, expected one of eval/...."
                refuse(Problem(f"objectives.{index}.metric", text))
        return self

"""A sweep file: one template, the matrix of cells around it, and where they run."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from strictune.config.base import Problem, Spec, distinct, refuse
from strictune.config.curriculum import Method
from strictune.config.evaluation import EvaluationSpec
from strictune.config.search import SearchSpec
from strictune.config.settings import CROSSED_KEYS, Settings
from strictune.config.trial import TrialTemplate, VariantName
from trainables.tasks import TaskSettings

__all__ = ["MATRIX_KEYS", "MatrixSpec", "ResourcesSpec", "SweepSpec"]

MATRIX_KEYS = ("model", "thinking", "curriculum", "method", "variant", "seed")
"""In the order in which trials are expanded, outermost first."""

SMALLEST_SHARE = 0.0001
"""Of a GPU or a core: Ray counts with four digits, and takes less for nothing."""

TAKEN_NAMES = frozenset(
    {"mlartifacts", *(f"mlflow.db{end}" for end in ("", ".lock", "-journal", "-shm", "-wal"))}
)
"""What the default tracking store is called, which lies beside the sweeps' folders."""


class MatrixSpec(Spec):
    """The values that are crossed; a key left out stays at the value of ``trial``."""

    model: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...],
            Field(min_length=1),
            AfterValidator(distinct),
        ]
        | None
    ) = None
    """Models: hub ids, local folders, ``package:`` or ``builtin:`` names."""
    thinking: Annotated[tuple[bool, ...], Field(min_length=1), AfterValidator(distinct)] | None = (
        None
    )
    """Without and with a think block."""
    curriculum: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(distinct)] | None = (
        None
    )
    """Names of curricula."""
    method: Annotated[tuple[Method, ...], Field(min_length=1), AfterValidator(distinct)] | None = (
        None
    )
    """Methods of training, e.g. ``[sft, grpo]``: would supervised training have done it?"""
    variant: Annotated[dict[VariantName, Settings], Field(min_length=1)] | None = None
    """Named settings on top of ``trial``, by dotted key, e.g.
    ``{default: {}, no_kl: {grpo.beta: 0}}``; keys that begin with ``task.`` change the task."""
    seed: (
        Annotated[
            tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...],
            Field(min_length=1),
            AfterValidator(distinct),
        ]
        | None
    ) = None
    """Seeds; each cell is trained once with each."""


class ResourcesSpec(Spec):
    """What one trial is granted; no part of a trial's identity.

    A trial of several workers is granted as much for each of them, on a GPU a whole one.
    Numbers are taken as they are, and nothing is measured. With auto, a short probe measures a
    trial's peak memory once for each model and shape; ``strictune.packing`` says when.
    """

    gpus_per_trial: Annotated[float, Field(ge=SMALLEST_SHARE, le=1)] | Literal["auto"] = 1.0
    """Share of one GPU, e.g. 0.25 for four trials on one; auto takes the smallest share that
    holds a trial's measured peak. Without a GPU auto packs by main memory."""
    cpus_per_trial: Annotated[float, Field(ge=SMALLEST_SHARE)] | Literal["auto"] = 1.0
    """CPU cores of a trial, and its number of torch threads; auto shares the cores out among
    the trials that run at the same time."""
    memory_gib_per_trial: Annotated[float, Field(gt=0)] | None = None
    """Main memory set aside for a trial; null sets the measured peak aside where one was
    measured, else nothing."""
    max_concurrent_trials: Annotated[int, Field(ge=1)] | None = None
    """Trials that run at the same time; null runs as many as fit."""
    step_timeout_s: Annotated[float, Field(gt=0)] | None = 1800.0
    """A trial without a sign of life for so long is started again from its last checkpoint; it
    beats at each step and each evaluated batch. Null waits for ever."""


class SweepSpec(Spec):
    """A named set of trials."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """Names the results folder and the parent run."""
    task: TaskSettings
    """Data, prompts and scoring."""
    trial: TrialTemplate
    """What every trial starts from."""
    matrix: MatrixSpec = MatrixSpec()
    """Crossed; each combination without the seed is a cell."""
    search: SearchSpec | None = None
    """One study inside each cell; null trains each cell as it is."""
    contrasts: tuple[Literal["model", "thinking", "curriculum", "method", "variant"], ...] = ()
    """Comparisons declared before the sweep starts; keys of the matrix with two values or more."""
    resources: ResourcesSpec = ResourcesSpec()
    """What one trial is granted."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Suite and decoding, equal in all cells."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        refuse(*self._own_problems(), *self._contrast_problems(), *self._search_problems())
        return self

    def _own_problems(self) -> Iterator[Problem]:
        if self.name.lower() in TAKEN_NAMES:
            text = f"= {self.name} is the name of the tracking store. Choose another."
            yield Problem("name", text)
        if self.trial.model is None and self.matrix.model is None:
            yield Problem("trial.model", "is missing. Set it, or list models in matrix.model.")

    def _search_problems(self) -> Iterator[Problem]:
        if self.search is None:
            return
        if self.matrix.variant is not None:
            text = "cannot be crossed with a search, whose points are variants. Drop one of them."
            yield Problem("matrix.variant", text)
        if "sft" in (self.matrix.method or (self.trial.method,)):
            key = "trial.method" if self.matrix.method is None else "matrix.method"
            text = (
                "has sft, which no search can be about: it knows neither reward weights nor "
                "interim evaluations. Train it in a sweep of its own, or with matrix.variant."
            )
            yield Problem(key, text)
        if self.contrasts:
            text = "cannot be declared with a search: its trials are compared by its confirmation."
            yield Problem("contrasts", text)
        seeds = self.matrix.seed or (self.trial.seed,)
        confirm = self.search.confirm
        used = [seed for seed in confirm.seeds if seed in seeds] if confirm else []
        if used:
            shown = ", ".join(map(str, used))
            text = f"has {shown}, with which the points are trained; a winner needs fresh seeds."
            yield Problem("search.confirm.seeds", text)
        if self.search.scheduler.kind != "none" and self.trial.distributed.num_workers > 1:
            text = (
                "pauses trials to evaluate them, which several workers cannot do. Set it to none."
            )
            yield Problem("search.scheduler.kind", text)
        if self.search.scheduler.kind not in ("none", "watch") and len(seeds) > 1:
            text = f"stops single trials, but each point is trained with {len(seeds)} seeds."
            yield Problem("search.scheduler.kind", text)
        for key in self.search.space.settings:
            if key.partition(".")[0] in CROSSED_KEYS:
                text = "is crossed by the matrix, not searched."
                yield Problem(f"search.space.settings.{key}", text)

    def _contrast_problems(self) -> Iterator[Problem]:
        for index, key in enumerate(self.contrasts):
            if len(getattr(self.matrix, key) or ()) < 2:
                text = (
                    f"= {key}, but matrix.{key} has fewer than two values to compare. "
                    "Add values to the matrix, or drop the contrast."
                )
                yield Problem(f"contrasts.{index}", text)
        if len(set(self.contrasts)) < len(self.contrasts):
            yield Problem("contrasts", "lists a key twice; list each key once.")

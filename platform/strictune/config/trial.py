"""One trial, fully resolved: what ``trainables`` needs to run it, and its identity.

``TrialTemplate`` is the ``trial`` block of a sweep file; ``TrialSpec`` adds what the sweep
holds in common (task, evaluation) and is complete. Resources are no part of either: they
say where a trial runs, not what it is.
"""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from strictune.config.base import Problem, Spec, refuse
from strictune.config.curriculum import Method, Stages, StageSpec, stage_problems, stage_steps
from strictune.config.distributed import DistributedSpec, distributed_problems
from strictune.config.evaluation import EvaluationSpec
from strictune.config.identity import identity_of
from strictune.config.naming import SEPARATOR, cell_name, short_model_name, trial_slug
from strictune.config.rollouts import RolloutsSpec
from strictune.config.training import (
    Dtype,
    GrpoSpec,
    LoraSpec,
    OptimizationSpec,
    SftSpec,
    SftStage,
    grpo_learning_rate,
    sft_stage,
)
from strictune.config.weights import active_weights, tied_components, weight_problems
from strictune.errors import did_you_mean
from trainables.tasks import TaskSettings, load_task

__all__ = ["Attention", "CheckpointSpec", "TrialSpec", "TrialTemplate", "VariantName", "Weights"]

Weights = dict[str, Annotated[float, Field(ge=0)]]
CurriculumName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,49}$")]
VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,49}$")]
Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4"]

ID_HASH_CHARS = 8


class CheckpointSpec(Spec):
    """How often a trial writes what it needs to resume."""

    save_steps: Annotated[int, Field(ge=1)] = 25
    """Optimizer steps between two checkpoints; a crash loses at most so many."""


class TrialTemplate(Spec):
    """What every trial of a sweep starts from; the matrix sets its own keys on top."""

    model: Annotated[str, Field(min_length=1)] | None = None
    """Hub id, local folder, ``package:smollm2-135m`` or ``builtin:tiny``."""
    quantization: Literal["nf4", "none"] = "nf4"
    """Storage of the base weights: 4-bit NormalFloat with double quantization, or as they are."""
    dtype: Dtype = "auto"
    """Precision of the computation, and of base weights that are not quantized. ``auto`` is
    bfloat16 where the processor or GPU has it in hardware, else float32 on a CPU and, for nf4,
    float16 on a GPU."""
    attn_implementation: Attention | None = None
    """Attention, by transformers' name. Null is eager on a CPU, and on a GPU sdpa, or eager for
    models without it, such as Gemma 2."""
    thinking: bool = False
    """Ask for a think block before the answer; the prompt opens it."""
    curriculum: str = "standard"
    """One of the task's curricula or of ``curricula``."""
    method: Method = "grpo"
    """grpo learns from rewards, sft from gold completions of the same prompts: a control. Single
    stages of a curriculum may be sft under grpo, e.g. in ``warm_start``."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of the adapter's initial weights, the order of the data and the sampling."""
    lora: LoraSpec = LoraSpec()
    """The adapter."""
    grpo: GrpoSpec
    """The training, in the words of TRL's ``GRPOConfig``; with sft, which prompts and how many."""
    sft: SftSpec = SftSpec()
    """The training in trials and stages of ``method: sft``, in the words of TRL's
    ``SFTConfig``."""
    trust_remote_code: bool = False
    """Run code that the model's folder or repository brings along. Read it first."""
    rollouts: RolloutsSpec = RolloutsSpec()
    """How completions are generated."""
    rewards: Weights | None = None
    """Weight of each reward component with thinking; one left out has weight 0. Null takes the
    task's own."""
    rewards_no_think: Weights | None = None
    """Weights without thinking. Null shares what only thinking can earn out in proportion, or
    takes the task's own where ``rewards`` is null too."""
    allow_ties: bool = False
    """Accept weight 0 on a component that decides the primary criterion; such trials are marked."""
    curricula: Annotated[dict[CurriculumName, Stages], Field(default_factory=dict)]
    """Further curricula by name; one of the task's name replaces the task's."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """The checkpoints that a killed trial resumes from."""
    distributed: DistributedSpec = DistributedSpec()
    """How many processes train the trial together."""


class TrialSpec(TrialTemplate):
    """One configuration trained once with one seed."""

    model: Annotated[str, Field(min_length=1)]
    """Hub id, local folder, ``package:smollm2-135m`` or ``builtin:tiny``."""
    task: TaskSettings
    """Data, prompts and scoring."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Suite and decoding, equal in all trials of a sweep."""
    model_label: str | None = None
    """What names call the model; null takes the short form of ``model``."""
    variant: VariantName | None = None
    """The matrix' variant, or the point of a search, whose settings this trial has."""
    interim_steps: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Steps, over all stages, at which training pauses and the validation split is measured."""

    @model_validator(mode="after")
    def _learning_rate_is_named(self) -> Self:
        if self.grpo.learning_rate is None:
            named = {"learning_rate": grpo_learning_rate(self.model)}
            # A trial is frozen once it is made; what is returned here is not what __init__ makes.
            object.__setattr__(self, "grpo", self.grpo.model_copy(update=named))
        return self

    @model_validator(mode="after")
    def _cell_can_be_trained(self) -> Self:
        problems = weight_problems(
            self.task,
            thinking=self.thinking,
            rewards=self.rewards,
            rewards_no_think=self.rewards_no_think,
            allow_ties=self.allow_ties,
        )
        problems += distributed_problems(
            self.distributed,
            self.grpo,
            method=self.method,
            quantization=self.quantization,
            engine=self.rollouts.engine,
            interim_steps=self.interim_steps,
        )
        problems += self._curriculum_problems()
        refuse(*(problems or [*self._gold_problems(), *self._stage_weight_problems()]))
        return self

    def _curriculum_problems(self) -> list[Problem]:
        known = all_curricula(self)
        if self.curriculum not in known:
            hint = did_you_mean(self.curriculum, known)
            text = f"= {self.curriculum}, expected one of {', '.join(known)}.{hint}"
            return [Problem("curriculum", text)]
        return stage_problems(
            known[self.curriculum],
            key=f"curricula.{self.curriculum}",
            method=self.method,
            max_steps=self.grpo.max_steps,
            difficulties=self.task.difficulties,
        )

    def _gold_problems(self) -> list[Problem]:
        task = load_task(self.task)
        if "sft" not in self.methods or task.has_gold(thinking=self.thinking):
            return []
        golds = "gold completions" + (" with thoughts" if task.has_gold(thinking=False) else "")
        text = f"= sft, but task {self.task.kind} knows no {golds} to train on. Use grpo"
        cure = ", or define gold_completion in a task of your own (docs/own_task.md)."
        if task.has_grammar:
            cure = ", or let the model draw its own: task.golds = grammar."
        if self.method == "sft":
            return [Problem("method", text + cure)]
        return [
            Problem(f"curricula.{self.curriculum}.{index}.method", text + cure)
            for index, stage in enumerate(self.stages)
            if stage.method == "sft"
        ]

    def _stage_weight_problems(self) -> list[Problem]:
        return [
            problem._replace(key=f"curricula.{self.curriculum}.{index}.{problem.key}")
            for index, stage in enumerate(self.stages)
            if stage.rewards is not None
            for problem in weight_problems(
                self.task,
                thinking=self.thinking,
                rewards=stage.rewards,
                rewards_no_think=None,
                allow_ties=self.allow_ties,
            )
        ]

    def stage_weights(self, stage: StageSpec) -> dict[str, float]:
        """Return the weight of every reward component in one stage, in the task's order."""
        if stage.rewards is None:
            return self.weights
        return active_weights(
            self.task, thinking=self.thinking, rewards=stage.rewards, rewards_no_think=None
        )

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every reward component in this cell, in the task's order.

        A stage may have weights of its own, see ``stage_weights``.
        """
        return active_weights(
            self.task,
            thinking=self.thinking,
            rewards=self.rewards,
            rewards_no_think=self.rewards_no_think,
        )

    @property
    def ties(self) -> tuple[str, ...]:
        """Decisive components with weight 0 in a stage; tables mark trials that have any."""
        tied = {
            name
            for stage in self.reward_stages
            for name in tied_components(
                self.task, self.stage_weights(stage), thinking=self.thinking
            )
        }
        return tuple(name for name in self.task.components if name in tied)

    @property
    def stages(self) -> tuple[StageSpec, ...]:
        """The stages of this cell's curriculum."""
        return all_curricula(self)[self.curriculum]

    def stage_method(self, stage: StageSpec) -> Method:
        """Return what trains a stage."""
        return stage.method or self.method

    @property
    def reward_stages(self) -> tuple[StageSpec, ...]:
        """The stages that learn from rewards."""
        return tuple(stage for stage in self.stages if self.stage_method(stage) == "grpo")

    @property
    def methods(self) -> tuple[Method, ...]:
        """What trains the stages, each method once, in their order."""
        return tuple(dict.fromkeys(map(self.stage_method, self.stages)))

    @property
    def method_steps(self) -> dict[Method, int]:
        """The optimizer steps of each method."""
        steps: dict[Method, int] = dict.fromkeys(self.methods, 0)
        for stage, num_steps in zip(self.stages, self.stage_steps, strict=True):
            steps[self.stage_method(stage)] += num_steps
        return steps

    @property
    def parts(self) -> tuple[Self, ...]:
        """The trial as each of its methods would train it alone: what its stages can cost."""
        if len(self.methods) == 1:
            return (self,)
        stages = tuple(stage.model_copy(update={"method": None}) for stage in self.stages)
        curricula = {self.curriculum: stages}
        return tuple(
            self.model_copy(update={"method": method, "curricula": curricula})
            for method in self.methods
        )

    @property
    def optimization(self) -> OptimizationSpec:
        """The batch, optimizer and schedule that this trial's method reads."""
        return self.sft if self.method == "sft" else self.grpo

    def stage_optimization(self, stage: StageSpec) -> OptimizationSpec:
        """Return the batch, optimizer and schedule of one stage."""
        block = self.sft if self.stage_method(stage) == "sft" else self.grpo
        if stage.learning_rate is None:
            return block
        return block.model_copy(update={"learning_rate": stage.learning_rate})

    @property
    def completions_per_step(self) -> int:
        """Completions behind one optimizer step, of all workers together."""
        return self.optimization.completions_per_step * self.distributed.num_workers

    @property
    def prompts_per_step(self) -> int:
        """Prompts behind one optimizer step of GRPO, of all workers together."""
        completions = self.grpo.completions_per_step * self.distributed.num_workers
        return completions // self.grpo.num_generations

    @property
    def sft_stages(self) -> tuple[SftStage, ...]:
        """What each stage trains on with sft: as much as it has with grpo."""
        num_workers = self.distributed.num_workers
        return tuple(
            sft_stage(self.sft, self.grpo, grpo_steps=steps, num_workers=num_workers)
            for steps in stage_steps(self.stages, max_steps=self.grpo.max_steps)
        )

    @property
    def stage_steps(self) -> tuple[int, ...]:
        """Optimizer steps of each stage; with grpo alone they add up to ``grpo.max_steps``."""
        steps = stage_steps(self.stages, max_steps=self.grpo.max_steps)
        return tuple(
            supervised.num_steps if self.stage_method(stage) == "sft" else num_steps
            for stage, num_steps, supervised in zip(
                self.stages, steps, self.sft_stages, strict=True
            )
        )

    @property
    def max_completion_tokens(self) -> int:
        """Token limit of a training completion in this cell."""
        return self.grpo.max_completion_length + self.thinking * self.grpo.max_think_length

    @property
    def max_evaluation_tokens(self) -> int:
        """Token limit of an evaluation completion in this cell."""
        return self.evaluation.max_tokens(thinking=self.thinking)

    @property
    def model_name(self) -> str:
        """What tables call the model."""
        return self.model_label or short_model_name(self.model)

    @property
    def cell(self) -> str:
        """The cell's name: model, thinking, curriculum, sft, and the variant where there is one."""
        return cell_name(
            model=self.model_name,
            thinking=self.thinking,
            curriculum=self.curriculum,
            method=self.method,
            variant=self.variant,
        )

    @property
    def display_name(self) -> str:
        """The cell's name with the seed; the name of the trial's MLflow run."""
        return f"{self.cell}{SEPARATOR}seed {self.seed}"

    @property
    def trial_id(self) -> str:
        """A readable slug and 8 hexadecimal digits of ``fingerprint``; names the folder."""
        slug = trial_slug(
            model=self.model,
            thinking=self.thinking,
            curriculum=self.curriculum,
            method=self.method,
            variant=self.variant,
            seed=self.seed,
        )
        return f"{slug}-{self.fingerprint[:ID_HASH_CHARS]}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that can change this trial's results, as it acts in this cell.

        Left out: how often it checkpoints and logs, what it is called, ``allow_ties`` (a
        permission), where rollouts run, and weights, curricula and token limits that other cells
        use. So a new curriculum or a thinking cell added to a finished sweep changes no other
        trial's name. Remote code counts where it is trusted.
        """
        text = json.dumps(identity_of(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def all_curricula(spec: TrialSpec) -> dict[str, tuple[StageSpec, ...]]:
    """Return the task's curricula and the sweep file's, by name."""
    own = {
        name: tuple(StageSpec.model_validate(stage) for stage in stages)
        for name, stages in spec.task.curricula.items()
    }
    return own | spec.curricula

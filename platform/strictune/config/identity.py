"""What a trial's name is made from: everything that can change its results, as it acts there."""

from typing import TYPE_CHECKING, Any

from strictune.config.curriculum import StageSpec
from strictune.config.training import GrpoSpec, SftStage

if TYPE_CHECKING:
    from strictune.config.trial import TrialSpec

__all__ = ["identity_of"]

UNNAMED_AT_DEFAULT = (
    "epsilon_high",
    "importance_sampling_level",
    "entropy_coef",
    "steps_per_generation",
    "kl_reference",
    "flat_groups",
)
"""Fields of ``grpo`` that came after trials had their names: part of a name once they are set."""


def identity_of(spec: "TrialSpec") -> dict[str, Any]:
    """Return it as plain data; ``TrialSpec.fingerprint`` says what is left out."""
    identity = spec.model_dump(
        mode="json",
        exclude={
            "model_label": True,
            "variant": True,
            "allow_ties": True,
            "checkpoint": True,
            "curricula": True,
            "rollouts": True,
            "method": True,
            "sft": True,
            "distributed": True,
            "trust_remote_code": not spec.trust_remote_code,
            "rewards": True,
            "rewards_no_think": True,
            "grpo": {"logging_steps", "max_completion_length", "max_think_length"},
            "evaluation": {"max_new_tokens", "max_think_tokens"},
        },
    )
    if not spec.interim_steps:
        del identity["interim_steps"]
    if spec.attn_implementation is None:
        del identity["attn_implementation"]
    for name in UNNAMED_AT_DEFAULT:
        if getattr(spec.grpo, name) == GrpoSpec.model_fields[name].default:
            del identity["grpo"][name]
    stages = zip(spec.stages, spec.sft_stages, strict=True)
    identity |= {
        "task": spec.task.identity(),
        "max_completion_tokens": spec.max_completion_tokens,
        "max_evaluation_tokens": spec.max_evaluation_tokens,
        "stages": [_stage_identity(spec, *stage) for stage in stages],
        **spec.distributed.identity,
    }
    if "sft" in spec.methods:
        identity["sft"] = spec.sft.model_dump(mode="json", exclude={"logging_steps", "match"})
        if spec.task.draws_golds:
            identity["golds"] = {
                "temperature": spec.grpo.temperature,
                "top_p": spec.grpo.top_p,
                "samples": spec.grpo.num_generations,
                "max_think_tokens": spec.thinking * spec.grpo.max_think_length,
            }
    if "grpo" in spec.methods:
        return identity | {"rollouts": spec.rollouts.identity, "weights": spec.weights}
    del identity["grpo"]
    return identity | {"method": "sft"}


def _stage_identity(spec: "TrialSpec", stage: StageSpec, supervised: SftStage) -> dict[str, Any]:
    own: dict[str, Any] = (
        {} if stage.learning_rate is None else {"learning_rate": stage.learning_rate}
    )
    if spec.stage_method(stage) == "sft":
        return {"name": stage.name, "mix": stage.mix, **supervised._asdict(), **own}
    shared = stage.model_dump(mode="json", exclude={"rewards", "method", "learning_rate"})
    if stage.rewards is not None:
        own["weights"] = spec.stage_weights(stage)
    return shared | own

"""What was measured of a trial's cost: by the probe beforehand, and by the trial itself."""

from dataclasses import dataclass

__all__ = ["Probe", "TrialCost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one trial takes at its worst lengths."""

    device: str
    """Of ``provenance.device_name``."""
    gpu_gib: float | None
    """Peak of what was needed on the card, context included; None on a CPU."""
    card_gib: float | None
    """Memory of the whole card."""
    memory_gib: float
    """Peak of the process in main memory."""
    gpu_reserved_gib: float | None = None
    """What torch had reserved of the card at most, in the terms of ``gpu_gib``."""
    gpu_failed_gib: float | None = None
    """The largest share of the card in which the same work ran out of memory; None where the
    first that it was repeated in held it."""
    step_s: float
    """The second optimizer step."""
    evaluation_s: float
    """One evaluation of the final split, from one batch of it."""
    prompt_tokens: int
    """The longest prompt of the training."""
    num_threads: int
    seconds: float
    """What the probe itself took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCost:
    """What one trial took, read from its records."""

    device: str
    curriculum: str
    num_threads: int
    gpus: float | None
    """Its share of a card; None where that was not recorded."""
    num_steps: int
    """Optimizer steps that were timed."""
    step_s: float
    """Median optimizer step."""
    evaluation_s: float
    """All of its evaluations together."""
    other_s: float
    """The rest: loading, checkpoints, steps that a restart repeated."""
    gpu_gib: float | None
    """Peak of what was needed on the card, context included."""
    gpu_reserved_gib: float | None = None
    """What torch had reserved of it at most, in the same terms."""
    memory_gib: float | None
    """Peak of the process in main memory."""

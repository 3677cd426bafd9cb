"""The ``task`` block of a sweep file for strict_json, and what configuration asks of it.

Everything here is plain data: loading a sweep file generates no prompts and compiles no
schema.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainables.tasks.strict_json.weights import COMPONENTS, decisive_components, default_weights

__all__ = ["StrictJsonSettings"]


class StrictJsonSettings(BaseModel):
    """Which synthetic data set a sweep trains and evaluates on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    components: ClassVar[tuple[str, ...]] = COMPONENTS
    difficulties: ClassVar[tuple[str, ...]] = ("simple", "medium", "hard")
    rungs: ClassVar[tuple[str, ...]] = ("syntax", "parsed", "conformant", "clean", "strict")
    primary_rung: ClassVar[str] = "strict"
    curricula: ClassVar[Mapping[str, Sequence[Mapping[str, object]]]] = MappingProxyType(
        {
            "standard": ({"name": "standard", "steps_frac": 1.0},),
            "three_stage": (
                {
                    "name": "format_basics",
                    "steps_frac": 0.32,
                    "mix": {"simple": 35.0, "medium": 55.0, "hard": 10.0},
                    "temperature": 0.8,
                },
                {
                    "name": "progressive",
                    "steps_frac": 0.32,
                    "mix": {"simple": 15.0, "medium": 35.0, "hard": 50.0},
                    "temperature": 0.7,
                },
                {
                    "name": "full_difficulty",
                    "steps_frac": 0.36,
                    "mix": {"simple": 10.0, "medium": 25.0, "hard": 65.0},
                    "temperature": 0.6,
                },
            ),
        }
    )
    """The published curricula: each a list of stages in the words of ``StageSpec``."""

    kind: Literal["strict_json"]
    """Answer with exactly one fenced JSON document that conforms to a schema."""
    data_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of schemas, instructions and splits."""
    num_train_prompts: Annotated[int, Field(ge=1)] = 5000
    """Prompts of the training split."""
    num_eval_prompts: Annotated[int, Field(ge=1)] = 840
    """Prompts of the validation split, and of the test split."""

    @staticmethod
    def default_weights(thinking: bool) -> dict[str, float]:
        """Return the published reward weights of a cell."""
        return default_weights(thinking)

    @staticmethod
    def decisive_components(thinking: bool) -> frozenset[str]:
        """Return the components whose weight must be positive for strict to outrank all else."""
        return decisive_components(thinking)

"""The settings of strict_json: what a sweep file says under ``task``.

Reading a sweep file draws no prompts and compiles no schema.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainables.tasks.base_settings import BaseSettings
from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.strict_json.rewards import REWARDS, JsonComponent
from trainables.tasks.strict_json.rungs import RUNGS

__all__ = ["StrictJsonSettings"]

CURRICULA: Mapping[str, Sequence[Mapping[str, object]]] = MappingProxyType(
    {
        **BaseSettings.curricula,
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
"""``three_stage`` is the published one: 800, 800 and 900 of 2,500 steps."""


class StrictJsonSettings(BaseSettings):
    """Which data strict_json draws."""

    rungs: ClassVar[tuple[str, ...]] = RUNGS
    reward_table: ClassVar[Mapping[str, JsonComponent]] = REWARDS
    difficulties: ClassVar[tuple[str, ...]] = DIFFICULTIES
    curricula: ClassVar[Mapping[str, Sequence[Mapping[str, object]]]] = CURRICULA

    kind: Literal["strict_json"] = "strict_json"
    """Answer with exactly one fenced JSON document that conforms to a schema."""
    data_seed: int = 0
    """The data are a function of this seed and the sizes below."""
    num_train_prompts: Annotated[int, Field(ge=3, le=100_000)] = 5000
    """A third of them in each difficulty; fewer prompts are a prefix of more."""
    num_eval_prompts: Annotated[int, Field(ge=12, le=2400)] = 840
    """In validation and in test each, four to a family, a third in each difficulty."""

    def measure(self) -> dict[str, Any]:
        """Return which prompts evaluations ask; those of training are no part of it."""
        return self.model_dump(mode="json", exclude={"num_train_prompts"})

    def scoring(self) -> dict[str, Any]:
        """Return the version of the validator that decides what conforms."""
        return {"jsonschema-rs": version("jsonschema-rs")}

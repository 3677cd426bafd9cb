"""The settings of strict_json: what a sweep file says under ``task``.

With them comes what configuration must know of the task before any of it is loaded: names,
default weights and curricula, as plain data. Reading a sweep file draws no prompts and
compiles no schema.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainables.tasks.base_settings import BaseSettings
from trainables.tasks.strict_json.curricula import CURRICULA
from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.strict_json.weights import COMPONENTS, decisive_components, default_weights

__all__ = ["StrictJsonSettings"]


class StrictJsonSettings(BaseSettings):
    """Which data strict_json draws."""

    rungs: ClassVar[tuple[str, ...]] = ("syntax", "parsed", "conformant", "clean", "strict")
    primary_rung: ClassVar[str] = "strict"
    components: ClassVar[tuple[str, ...]] = COMPONENTS
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

    @staticmethod
    def default_weights(thinking: bool) -> dict[str, float]:
        """Return the published weight of every component; ``reasoning`` is 0 without thinking."""
        return default_weights(thinking)

    @staticmethod
    def decisive_components(thinking: bool) -> frozenset[str]:
        """Return the components whose weight must be positive for strict to outrank all else."""
        return decisive_components(thinking)

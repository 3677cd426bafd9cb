"""The settings of functions: what a sweep file says under ``task``.

Reading a sweep file reads no rows and imports no module of the user's.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.tasks.base_settings import BaseSettings, Component
from trainables.tasks.data_files import Source
from trainables.tasks.functions.module import source_files
from trainables.tasks.splits import SplitSettings

__all__ = ["SUCCESS", "ColumnSettings", "Condition", "FunctionsSettings"]

SUCCESS = "success"
"""The one criterion."""
_CONDITION = re.compile(
    r"(?P<function>[A-Za-z_]\w*)\s*(?P<sign>>=|<=|==|>|<)\s*(?P<value>[-+]?[\d.]+(e[-+]?\d+)?)"
)
_NAME = re.compile(r"[A-Za-z_]\w*")

Name = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


class Condition(BaseModel):
    """What one function must say of a completion that succeeds."""

    model_config = ConfigDict(frozen=True)

    function: str
    sign: str | None = None
    """None: the function itself says true or false."""
    value: float = 0.0


class ColumnSettings(BaseModel):
    """What the columns are called; reward functions get every column under its own name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: str = "prompt"
    """Text, or a list of chat messages."""
    completion: str = "completion"
    """A right answer to train on with ``method: sft``; rows may lack it."""
    id: str = "id"
    """Names a row in messages and records; without it, its place in the file does."""
    family: str = "family"
    """Rows of one family are alike and never cross splits; without it, prompts that differ only in
    numbers, quoted names, white space or case are one."""
    difficulty: str = "difficulty"
    """One of ``difficulty`` below."""


class FunctionsSettings(BaseSettings):
    """Which reward functions, and over which rows."""

    criteria: ClassVar[tuple[str, ...]] = (SUCCESS,)
    paths: ClassVar[tuple[str, ...]] = ("module", "train", "validation", "test")

    kind: Literal["functions"]
    """Reward functions as TRL calls them, over rows of your own."""
    module: Annotated[str, Field(min_length=1)]
    """The Python file that defines them. It is imported in every worker: keep what starts a
    training behind ``if __name__ == "__main__":``."""
    rewards: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of reward functions in it; their weights are ``trial.rewards``, 1 by default."""
    success: Annotated[str, Field(min_length=1)]
    """When a completion counts as right: ``accuracy_reward >= 1.0``, several joined by ``and``, or
    the name of a function that gives true or false."""
    train: Source
    """A JSONL, JSON, CSV or Parquet file, a folder of them, or ``{dataset: org/name, split: ...}``
    from the hub."""
    validation: Source | None = None
    """Rows to choose by; null splits them off ``train``, by family."""
    test: Source | None = None
    """Rows for the final evaluation; null splits them off ``train``, by family."""
    split: SplitSettings = SplitSettings()
    """How they are split off."""
    columns: ColumnSettings = ColumnSettings()
    """What the columns are called, e.g. ``{prompt: question}``."""
    difficulty: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], ...] = ()
    """The names in the column ``difficulty``, easiest first; empty ignores the column."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 512
    """Longer prompts are dropped from training and refused in evaluation."""

    @model_validator(mode="after")
    def _success_can_be_told(self) -> Self:
        twice = sorted({name for name in self.rewards if self.rewards.count(name) > 1})
        if twice:
            raise ValueError(f"lists {', '.join(twice)} twice in rewards; list each one once.")
        if "all" in self.difficulty:
            raise ValueError("lists all in difficulty, which tables say of all prompts; rename it.")
        for condition in self.conditions:
            if condition.sign is not None and condition.function not in self.rewards:
                raise ValueError(
                    f"has success = {self.success}, but {condition.function} is none of rewards "
                    f"({', '.join(self.rewards)}). Add it there."
                )
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What ``success`` asks for; all of them must hold."""
        return tuple(map(_condition, re.split(r"\s+and\s+", self.success.strip())))

    @property
    def reward_table(self) -> Mapping[str, Component]:
        """One component for each function; which of them are decisive is not known."""
        return {name: Component(1.0) for name in self.rewards}

    @property
    def difficulties(self) -> tuple[str, ...]:
        """Easiest first."""
        return self.difficulty or super().difficulties

    def identity(self) -> dict[str, Any]:
        """Return all settings, files by their names: moving them makes no other trial."""
        data = self.model_dump(mode="json")
        return data | {key: Path(data[key]).name for key in self.paths if type(data[key]) is str}

    def measure(self) -> dict[str, Any]:
        """Return which rows evaluations ask, and when an answer is right."""
        identity = self.identity()
        given = {"validation", "test"} if self.validation and self.test else {"train", "split"}
        names = given | {"validation", "test", "module", "success", "columns", "difficulty"}
        return {name: identity[name] for name in identity if name in names}

    def scoring(self) -> dict[str, Any]:
        """Return the code of the functions and what counts as right, whatever training pays."""
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in source_files(Path(self.module).expanduser())
        }
        return {"files": files, "success": self.success}


def _condition(text: str) -> Condition:
    if _NAME.fullmatch(text):
        return Condition(function=text)
    if found := _CONDITION.fullmatch(text):
        return Condition(
            function=found["function"], sign=found["sign"], value=float(found["value"])
        )
    raise ValueError(
        f"has success = {text}, expected e.g. accuracy_reward >= 1.0, or the name of a function "
        "that gives true or false."
    )

"""Settings of the task functions: the ``task`` block of a sweep file.

Loading a sweep file neither reads rows nor imports the user's module.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from strictune.errors import did_you_mean
from trainables.tasks.base_settings import BaseSettings, Component
from trainables.tasks.data_files import Source
from trainables.tasks.functions.module import source_files
from trainables.tasks.splits import SplitSettings

__all__ = ["SUCCESS", "ColumnSettings", "Condition", "FunctionsSettings"]

SUCCESS = "success"
"""The name of the only criterion."""
_CONDITION = re.compile(
    r"(?P<function>[A-Za-z_]\w*)\s*(?P<sign>>=|<=|==|>|<)\s*(?P<value>[-+]?[\d.]+(e[-+]?\d+)?)"
)
_NAME = re.compile(r"[A-Za-z_]\w*")

Name = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


class Condition(BaseModel):
    """A condition on one function's value that every successful completion meets."""

    model_config = ConfigDict(frozen=True)

    function: str
    sign: str | None = None
    """The comparison; None if the function itself returns true or false."""
    value: float = 0.0


class ColumnSettings(BaseModel):
    """Names of the columns; reward functions receive every column under its own name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: str = "prompt"
    """Text, or a list of chat messages."""
    completion: str = "completion"
    """A correct answer to train on with ``method: sft``; rows may lack it."""
    id: str = "id"
    """Id that names a row in messages and records; by default its file and line."""
    family: str = "family"
    """Rows of one family are alike and never cross splits. By default, prompts that differ only in
    numbers, quoted names, white space or case share a family."""
    difficulty: str = "difficulty"
    """One of the names in ``task.difficulty``."""


class FunctionsSettings(BaseSettings):
    """Which reward functions to call, and on which rows."""

    criteria: ClassVar[tuple[str, ...]] = (SUCCESS,)
    paths: ClassVar[tuple[str, ...]] = ("module", "train", "validation", "test")

    kind: Literal["functions"]
    """Reward functions called as TRL calls them, on rows of your own."""
    module: Annotated[str, Field(min_length=1)]
    """The Python file that defines the functions. Every worker imports it, so put code that starts
    a training behind ``if __name__ == "__main__":``."""
    rewards: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of reward functions in the module. ``trial.rewards`` sets their weights, by default
    1."""
    success: Annotated[str, Field(min_length=1)]
    """When a completion counts as correct: a condition such as ``accuracy_reward >= 1.0``, several
    joined by ``and``, or the name of a function that returns true or false."""
    train: Source
    """Training rows: a JSONL, JSON, CSV or Parquet file, a folder of them, or ``{dataset: org/name,
    split: ...}`` from the hub."""
    validation: Source | None = None
    """Rows for validation; null splits them off ``train``, by family."""
    test: Source | None = None
    """Rows for the final evaluation; null splits them off ``train``, by family."""
    split: SplitSettings = SplitSettings()
    """How validation and test rows are split off ``train``."""
    columns: ColumnSettings = ColumnSettings()
    """Names of the columns, e.g. ``{prompt: question}``."""
    difficulty: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], ...] = ()
    """The names in the difficulty column, easiest first; empty ignores the column."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 512
    """Longer prompts are dropped from training and refused in evaluation."""

    @model_validator(mode="after")
    def _success_can_be_told(self) -> Self:
        twice = sorted({name for name in self.rewards if self.rewards.count(name) > 1})
        if twice:
            raise ValueError(f"lists {', '.join(twice)} twice in rewards; list each one once.")
        if "all" in self.difficulty:
            raise ValueError(
                "lists all in difficulty, but tables use that name for all prompts; rename it."
            )
        for condition in self.conditions:
            if condition.sign is not None and condition.function not in self.rewards:
                hint = did_you_mean(condition.function, self.rewards) or " Add it there."
                raise ValueError(
                    f"has success = {self.success}, but {condition.function} is not in rewards "
                    f"({', '.join(self.rewards)}).{hint}"
                )
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions in ``success``; all of them must hold."""
        return tuple(map(_condition, re.split(r"\s+and\s+", self.success.strip())))

    @property
    def reward_table(self) -> Mapping[str, Component]:
        """One component for each function, with weight 1; none is known to be decisive."""
        return {name: Component(1.0) for name in self.rewards}

    @property
    def difficulties(self) -> tuple[str, ...]:
        """The names of the difficulties, easiest first."""
        return self.difficulty or super().difficulties

    def identity(self) -> dict[str, Any]:
        """Return all settings, with file names for paths: moving files does not rename a trial."""
        data = self.model_dump(mode="json")
        return data | {key: Path(data[key]).name for key in self.paths if type(data[key]) is str}

    def measure(self) -> dict[str, Any]:
        """Return the settings that choose evaluation rows and define success."""
        identity = self.identity()
        given = {"validation", "test"} if self.validation and self.test else {"train", "split"}
        names = given | {"validation", "test", "module", "success", "columns", "difficulty"}
        return {name: identity[name] for name in identity if name in names}

    def scoring(self) -> dict[str, Any]:
        """Return the success condition, and hashes of the files that define the functions."""
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
        "that returns true or false."
    )

"""Settings of strict_json: the ``task`` block of a sweep file.

Loading a sweep file neither generates prompts nor compiles schemas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.tasks.base_settings import BaseSettings
from trainables.tasks.data_files import Source
from trainables.tasks.splits import SplitSettings
from trainables.tasks.strict_json.answers import CONTENT, CORRECT
from trainables.tasks.strict_json.criteria import CRITERIA
from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.strict_json.rewards import ANSWER_REWARDS, REWARDS, JsonComponent

__all__ = ["ColumnSettings", "StrictJsonSettings"]

_DRAWING = {"kind", "data_seed", "num_train_prompts", "num_eval_prompts"}

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
"""``three_stage`` is the published curriculum: 800, 800 and 900 of 2,500 steps."""


class ColumnSettings(BaseModel):
    """Names of the columns in data files."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, serialize_by_alias=True
    )

    prompt: str = "prompt"
    """Text, or a list of chat messages."""
    schema_: Annotated[str, Field(alias="schema")] = "schema"
    """A JSON Schema, as JSON or as text; ignored if ``task.schema`` gives one for all rows."""
    answer: str | None = None
    """The expected document, as JSON or as text; null if rows have none."""
    id: str = "id"
    """Id that names a row in messages and records; by default its file and line."""
    family: str = "family"
    """Rows of one family are alike and never cross splits. By default, prompts that differ only in
    numbers, quoted names, white space or case share a family."""
    difficulty: str = "difficulty"
    """simple, medium or hard; by default measured on the schema."""


class StrictJsonSettings(BaseSettings):
    """Which prompts strict_json generates, or which files it reads."""

    model_config = ConfigDict(serialize_by_alias=True)

    difficulties: ClassVar[tuple[str, ...]] = DIFFICULTIES
    curricula: ClassVar[Mapping[str, Sequence[Mapping[str, object]]]] = CURRICULA
    paths: ClassVar[tuple[str, ...]] = ("train", "validation", "test", "schema")

    kind: Literal["strict_json"] = "strict_json"
    """Answer with exactly one fenced JSON document that conforms to a schema."""
    data_seed: int = 0
    """Seed of the generated prompts, which depend on it and on the sizes below only."""
    num_train_prompts: Annotated[int, Field(ge=3, le=100_000)] = 5000
    """Number of generated training prompts, a third of each difficulty; a smaller set is a prefix
    of a larger one."""
    num_eval_prompts: Annotated[int, Field(ge=12, le=2400)] = 840
    """Number of generated prompts in validation and in test each: four to a family, a third of each
    difficulty."""
    train: Source | None = None
    """Your own rows instead of generated prompts: a JSONL, JSON, CSV or Parquet file, a folder of
    them, or ``{dataset: org/name, split: ...}`` from the hub."""
    validation: Source | None = None
    """Rows for validation; null splits them off ``train``, by family."""
    test: Source | None = None
    """Rows for the final evaluation; null splits them off ``train``, by family."""
    split: SplitSettings = SplitSettings()
    """How validation and test rows are split off ``train``."""
    schema_: Annotated[str | None, Field(alias="schema")] = None
    """A file with the JSON Schema of all rows; null reads the schema column."""
    show_schema: bool = True
    """Append the schema to each prompt of a file; set false if prompts describe the answer."""
    columns: ColumnSettings = ColumnSettings()
    """Names of the columns, e.g. ``{prompt: text, answer: label}``."""
    ignore: tuple[str, ...] = ()
    """Parts of an answer that are not compared: keys, or JSON pointers such as ``/items/*/id``."""
    any_order: bool = False
    """Whether arrays of an answer may be in any order."""
    primary: Literal["strict", "correct"] | None = None
    """The criterion of verdicts; null means correct if rows have answers, otherwise strict."""
    golds: Literal["answers", "grammar", "none"] | None = None
    """What ``method: sft`` trains on: the data's answers, or completions sampled from the untrained
    model under each prompt's grammar that pass every check. null means answers if the data have
    them."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 512
    """Longer prompts are dropped from training and refused in evaluation."""

    @model_validator(mode="after")
    def _files_come_together(self) -> Self:
        others = {"validation", "test", "schema_", "split", "columns", "primary"}
        given = self.model_dump(include=others, exclude_defaults=True)
        if given and self.train is None:
            raise ValueError(
                f"sets {', '.join(given)}, but train names no rows. Name a file in train, or leave "
                "them out to generate prompts."
            )
        if self.primary == CORRECT and not self.has_answers:
            raise ValueError(
                "primary = correct, but columns.answer names no column of expected answers. "
                "Name it there."
            )
        if self.golds == "answers" and not self.knows_answers:
            raise ValueError(
                "golds = answers, but columns.answer names no column of expected answers. Name it "
                "there, or set golds = grammar."
            )
        return self

    @property
    def knows_answers(self) -> bool:
        """Whether each prompt has a right answer: an expected one, or a generated one."""
        return self.train is None or self.has_answers

    @property
    def draws_golds(self) -> bool:
        """Whether gold completions are sampled from the untrained model under a grammar."""
        return self.golds == "grammar"

    @property
    def has_answers(self) -> bool:
        """Whether rows hold expected documents."""
        return self.columns.answer is not None

    @property
    def criteria(self) -> tuple[str, ...]:
        """The names of the scoring ladder, lowest first."""
        return (*CRITERIA, CORRECT) if self.has_answers else CRITERIA

    @property
    def primary_criterion(self) -> str:
        """The criterion that verdicts compare and searches optimize."""
        return self.primary or self.criteria[-1]

    @property
    def reward_table(self) -> Mapping[str, JsonComponent]:
        """The seven components, and ``content`` if rows have answers."""
        if not self.has_answers:
            return REWARDS
        if self.primary_criterion == CORRECT:
            return ANSWER_REWARDS
        content = replace(ANSWER_REWARDS[CONTENT], is_decisive=False)
        return {**REWARDS, CONTENT: content}

    def identity(self) -> dict[str, Any]:
        """Return how prompts are generated, or which files are read, by name.

        ``golds`` is left out: it is part of the names of supervised trials only, see ``TrialSpec``.
        """
        drawn = self.model_dump(mode="json", include=_DRAWING)
        data = self.model_dump(mode="json", exclude=_DRAWING | {"golds"}, exclude_defaults=True)
        names = {key: Path(data[key]).name for key in self.paths if type(data.get(key)) is str}
        return drawn | data | names

    def measure(self) -> dict[str, Any]:
        """Return which prompts evaluations use; settings of training prompts are left out."""
        training = {"num_train_prompts"}
        if self.validation is not None and self.test is not None:
            training |= {"train", "split"}
        return {key: value for key, value in self.identity().items() if key not in training}

    def scoring(self) -> dict[str, Any]:
        """Return the validator's version, and how answers are compared."""
        facts: dict[str, Any] = {"jsonschema-rs": version("jsonschema-rs")}
        if self.has_answers:
            facts |= {"ignore": self.ignore, "any_order": self.any_order, "primary": self.primary}
        return facts

"""The settings of strict_json: what a sweep file says under ``task``.

Reading a sweep file draws no prompts and compiles no schema.
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
"""``three_stage`` is the published one: 800, 800 and 900 of 2,500 steps."""


class ColumnSettings(BaseModel):
    """What the columns of the files are called."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, serialize_by_alias=True
    )

    prompt: str = "prompt"
    """Text, or a list of chat messages."""
    schema_: Annotated[str, Field(alias="schema")] = "schema"
    """A JSON Schema, as JSON or its text; not read where there is one for all rows."""
    answer: str | None = None
    """The expected document, as JSON or its text; null: rows have none."""
    id: str = "id"
    """Names a row in messages and records; without it, its place in the file does."""
    family: str = "family"
    """Rows of one family are alike and never cross splits; without it, prompts that differ only in
    numbers, quoted names, white space or case are one."""
    difficulty: str = "difficulty"
    """simple, medium or hard; without it, it is measured on the schema."""


class StrictJsonSettings(BaseSettings):
    """Which data strict_json draws, or which files it reads."""

    model_config = ConfigDict(serialize_by_alias=True)

    difficulties: ClassVar[tuple[str, ...]] = DIFFICULTIES
    curricula: ClassVar[Mapping[str, Sequence[Mapping[str, object]]]] = CURRICULA
    paths: ClassVar[tuple[str, ...]] = ("train", "validation", "test", "schema")

    kind: Literal["strict_json"] = "strict_json"
    """Answer with exactly one fenced JSON document that conforms to a schema."""
    data_seed: int = 0
    """The data are a function of this seed and the sizes below."""
    num_train_prompts: Annotated[int, Field(ge=3, le=100_000)] = 5000
    """A third of them in each difficulty; fewer prompts are a prefix of more."""
    num_eval_prompts: Annotated[int, Field(ge=12, le=2400)] = 840
    """In validation and in test each, four to a family, a third in each difficulty."""
    train: Source | None = None
    """Rows of your own in place of drawn ones: a JSONL, JSON, CSV or Parquet file, a folder of
    them, or ``{dataset: org/name, split: ...}`` from the hub."""
    validation: Source | None = None
    """Rows to choose by; null splits them off ``train``, by family."""
    test: Source | None = None
    """Rows for the final evaluation; null splits them off ``train``, by family."""
    split: SplitSettings = SplitSettings()
    """How they are split off."""
    schema_: Annotated[str | None, Field(alias="schema")] = None
    """A file with the JSON Schema of all rows; null reads a column."""
    show_schema: bool = True
    """Put the schema behind each prompt of a file; false where prompts say what is wanted."""
    columns: ColumnSettings = ColumnSettings()
    """What the columns are called, e.g. ``{prompt: text, answer: label}``."""
    ignore: tuple[str, ...] = ()
    """What does not count in an answer: keys, or JSON pointers such as ``/items/*/id``."""
    any_order: bool = False
    """Arrays of an answer may be in any order."""
    primary: Literal["strict", "correct"] | None = None
    """What verdicts are about; null is correct where rows have answers, else strict."""
    golds: Literal["answers", "grammar", "none"] | None = None
    """What ``method: sft`` learns from: the data's answers, or completions of the untrained model
    under each prompt's grammar that pass every check; null is answers where the data have them."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 512
    """Longer prompts are dropped from training and refused in evaluation."""

    @model_validator(mode="after")
    def _files_come_together(self) -> Self:
        others = {"validation", "test", "schema_", "split", "columns", "primary"}
        given = self.model_dump(include=others, exclude_defaults=True)
        if given and self.train is None:
            raise ValueError(
                f"sets {', '.join(given)}, but train names no rows. Name a file in train, or leave "
                "them out to have prompts drawn."
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
        """Each prompt has a right answer: an expected one, or one that was drawn with it."""
        return self.train is None or self.has_answers

    @property
    def draws_golds(self) -> bool:
        """Supervised training learns from the untrained model's own completions under a grammar."""
        return self.golds == "grammar"

    @property
    def has_answers(self) -> bool:
        """Rows say which document is expected."""
        return self.columns.answer is not None

    @property
    def criteria(self) -> tuple[str, ...]:
        """The scoring ladder, lowest first."""
        return (*CRITERIA, CORRECT) if self.has_answers else CRITERIA

    @property
    def primary_criterion(self) -> str:
        """The criterion that verdicts and searches are about."""
        return self.primary or self.criteria[-1]

    @property
    def reward_table(self) -> Mapping[str, JsonComponent]:
        """The seven components, and where rows have answers their content."""
        if not self.has_answers:
            return REWARDS
        if self.primary_criterion == CORRECT:
            return ANSWER_REWARDS
        content = replace(ANSWER_REWARDS[CONTENT], is_decisive=False)
        return {**REWARDS, CONTENT: content}

    def identity(self) -> dict[str, Any]:
        """Return how data are drawn, or which files are read, by their names.

        Golds name supervised trials alone, see ``TrialSpec``.
        """
        drawn = self.model_dump(mode="json", include=_DRAWING)
        data = self.model_dump(mode="json", exclude=_DRAWING | {"golds"}, exclude_defaults=True)
        names = {key: Path(data[key]).name for key in self.paths if type(data.get(key)) is str}
        return drawn | data | names

    def measure(self) -> dict[str, Any]:
        """Return which prompts evaluations ask; those of training are no part of it."""
        training = {"num_train_prompts"}
        if self.validation is not None and self.test is not None:
            training |= {"train", "split"}
        return {key: value for key, value in self.identity().items() if key not in training}

    def scoring(self) -> dict[str, Any]:
        """Return what decides what conforms, and how answers are compared."""
        facts: dict[str, Any] = {"jsonschema-rs": version("jsonschema-rs")}
        if self.has_answers:
            facts |= {"ignore": self.ignore, "any_order": self.any_order, "primary": self.primary}
        return facts

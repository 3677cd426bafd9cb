"""IFStruct for ``strictune evaluate``: reads its file as a suite and measures its pass rate.

Liquid AI (2026), "IFStruct: Measuring structured-output compliance". Rows that ask for YAML are
skipped. The published file is a test set, so this task cannot be used for training.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ValidationError

from strictune.errors import SpecError
from trainables.tasks.base_settings import BaseSettings, Component
from trainables.tasks.ifstruct.checks import CRITERIA, Request, judge
from trainables.tasks.jsonl import Row
from trainables.tasks.splits import prompt_text, read_prompts, row_id
from trainables.tasks.task import Attempt, OnProgress, Prompt, Score, Split, Task

__all__ = ["IfStruct", "IfStructSettings"]

logger = logging.getLogger(__name__)

REQUEST = "request"
"""The prompt's column that holds its ``Request``, as JSON text."""


class IfStructSettings(BaseSettings):
    """Settings of IFStruct; there is nothing to set."""

    criteria: ClassVar = CRITERIA
    reward_table: ClassVar = {"passed": Component(1.0, is_decisive=True)}

    kind: Literal["ifstruct"] = "ifstruct"
    """Answer requests for JSON in a given shape; only for ``strictune evaluate``."""


class IfStruct(Task):
    """Answer a request for a list of items with JSON of the requested shape."""

    settings: IfStructSettings
    max_prompt_tokens = 4096

    def check(self, on_progress: OnProgress | None = None) -> None:
        """Raise an error: this task cannot be used for training.

        Raises:
            SpecError: Always.
        """
        self.build_prompts("train")

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        """Raise an error: this task has no splits.

        Raises:
            SpecError: Always.
        """
        raise SpecError(
            "task.kind = ifstruct: has no prompts of its own. Evaluate a model with `strictune "
            "evaluate --task ifstruct --suite FILE`, where FILE is IFStruct's data/test.jsonl."
        )

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read the rows of IFStruct's file that ask for JSON.

        Raises:
            SpecError: The file or a row of it cannot be used, or no row asks for JSON.
        """
        prompts = list(read_prompts(str(path), _prompt, {}))
        kept = [prompt for prompt in prompts if prompt.columns]
        if not kept:
            raise SpecError(f"{path}: none of its {len(prompts)} rows has output_format = json.")
        if len(kept) < len(prompts):
            logger.warning("skipped %d rows that ask for YAML", len(prompts) - len(kept))
        return kept

    def score(self, attempt: Attempt, *, thinking: bool) -> Score:
        """Check a completion against the row's request."""
        text = attempt.completion if attempt.plain is None else attempt.plain
        if attempt.think_prefilled:
            text = f"<think>{text}"
        verdict = judge(text, Request.model_validate_json(attempt.prompt.columns[REQUEST]))
        return Score(
            criteria={name: place < verdict.level for place, name in enumerate(CRITERIA)},
            rewards={"passed": float(verdict.level == len(CRITERIA))},
            error_class=verdict.error,
            error_path=verdict.where,
            is_thinking="</think>" in text,
        )


class _Row(Request):
    """The fields that are read from a row, besides its prompt."""

    output_format: Literal["json", "yaml"]
    entity_type: str


def _prompt(row: Row, columns: Sequence[str]) -> Prompt:
    """Return a row as a prompt, without columns if it asks for YAML."""
    try:
        read = _Row.model_validate(row.values)
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(
            f"{row.where}: {'.'.join(map(str, first['loc']))}: {first['msg']}. Expected a row "
            "of IFStruct's data/test.jsonl."
        ) from error
    request = read.model_dump_json(include=set(Request.model_fields))
    return Prompt(
        id=row_id(row, "doc_id"),
        text=prompt_text(row, "prompt"),
        family=read.entity_type,
        difficulty="default",
        constructs=(
            "wrapper_key" if read.require_wrapper_key else "bare_list",
            *(("code_block",) if read.require_code_block else ()),
            *(("no_commentary",) if read.require_no_commentary else ()),
        ),
        columns={REQUEST: request} if read.output_format == "json" else {},
    )

"""The strict_json task: its data and its scorer."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from strictune.errors import SpecError
from trainables.tasks.strict_json.answers import ANSWER_MEASURES, Answer
from trainables.tasks.strict_json.crafted import crafted_answers
from trainables.tasks.strict_json.data import kept_split
from trainables.tasks.strict_json.files import file_messages, file_splits, file_suite
from trainables.tasks.strict_json.outside.catalog import OUTSIDE_SUITES, outside_suite
from trainables.tasks.strict_json.prompts import gold_of, system_prompt
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.suites import read_suite
from trainables.tasks.task import (
    Attempt,
    Message,
    OnProgress,
    OutsideSuite,
    Prompt,
    Score,
    Split,
    Task,
)

__all__ = ["StrictJson"]

WHITE_SPACE = r"[ \n\r\t]{0,24}"
"""White space allowed between two tokens of a document under a grammar. Without a limit a model may
write blanks up to its token limit; this is enough for a line break and six levels of four
blanks."""


class StrictJson(Task):
    """Answer an instruction with exactly one fenced JSON document that fits a schema.

    Compiled schemas are not pickled.
    """

    settings: StrictJsonSettings
    outside_suites = tuple(OUTSIDE_SUITES)

    def __init__(self, settings: StrictJsonSettings) -> None:
        super().__init__(settings)
        self.max_prompt_tokens = settings.max_prompt_tokens
        self.measures = ANSWER_MEASURES if settings.has_answers else ()

    def check(self, on_progress: OnProgress | None = None) -> None:
        """Read and check all rows, if the task reads files."""
        if self.settings.train is not None and not self._splits:
            self._splits.update(file_splits(self.settings, on_progress))

    def build_prompts(self, split: Split) -> Sequence[Prompt]:
        """Generate prompts from the grammar of schemas, or read them from files."""
        sizes = self.settings
        if sizes.train is not None:
            self.check()
            return self._splits[split]
        size = sizes.num_train_prompts if split == "train" else sizes.num_eval_prompts
        return kept_split(split, seed=sizes.data_seed, num_prompts=size)

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read a suite file, see ``suites``, or further rows if the task reads files."""
        if self.settings.train is not None:
            return file_suite(path, self.settings)
        return read_suite(path)

    def outside_suite(self, name: str, part: str) -> OutsideSuite:
        """Load real-world schemas from a package or the hub, see ``outside``."""
        if self.settings.has_answers:
            raise SpecError(
                f"suite {name}: has no expected answers, but the task compares them. Evaluate "
                "without task.columns.answer."
            )
        return outside_suite(name, part)

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the system message and the instruction."""
        return file_messages(prompt, thinking=thinking) or [
            {"role": "system", "content": system_prompt(thinking=thinking)},
            {"role": "user", "content": prompt.text},
        ]

    def score(self, attempt: Attempt, *, thinking: bool) -> Score:
        """Score one completion; never raises on any completion text."""
        columns, settings = attempt.prompt.columns, self.settings
        answer = None
        if settings.has_answers:
            document = json.loads(columns["answer"])
            answer = Answer(document, settings.ignore, settings.any_order)
        return self._scorer.score(
            attempt.completion,
            columns["schema"],
            thinking=thinking,
            think_prefilled=attempt.think_prefilled,
            answer=answer,
        )

    def answer_grammar(self, prompt: Prompt) -> str:
        """Return the grammar of one json fence around a document of the schema.

        llguidance derives the document's grammar from the schema. It is narrower than the schema:
        members stand in the order of ``properties``. It is wider in one respect: it does not track
        free keys, so an object of free keys may repeat one and then fall short of
        ``minProperties``.
        """
        schema = prompt.columns["schema"].strip()
        if schema.startswith("{"):
            options = json.dumps({"whitespace_pattern": WHITE_SPACE})
            others = schema.removeprefix("{").strip()
            comma = "" if others == "}" else ", "
            schema = f'{{"x-guidance": {options}{comma}{others}'
        return f'answer: "```json\\n" document "\\n```"\ndocument: %json {schema}\n'

    def has_gold(self, *, thinking: bool) -> bool:
        """Whether golds are sampled, or the data have answers (for a user's, not with thinking)."""
        settings = self.settings
        if settings.draws_golds or settings.golds == "none":
            return settings.draws_golds
        return settings.knows_answers and not (thinking and settings.train is not None)

    def gold_completion(self, prompt: Prompt, *, thinking: bool) -> str | None:
        """Return the fenced gold document, after a short thought with thinking."""
        if thinking and self.settings.train is not None:
            return None  # Rows of a user hold no thoughts.
        return gold_of(prompt, thinking=thinking)

    def crafted_answers(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return the gold answer, and wrong answers made to earn rewards."""
        if thinking and self.settings.train is not None:
            return {}
        return crafted_answers(prompt, thinking=thinking)

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer()

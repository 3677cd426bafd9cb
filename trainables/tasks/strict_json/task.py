"""The strict_json task: the data and the scorer behind the ``Task`` protocol."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from trainables.tasks.strict_json.data import data_hash, kept_split
from trainables.tasks.strict_json.grammar import answer_grammar
from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.strict_json.outside.catalog import OUTSIDE_SUITES, outside_suite
from trainables.tasks.strict_json.probes import probes_of
from trainables.tasks.strict_json.prompts import gold_of, system_prompt
from trainables.tasks.strict_json.scoring import COMPONENTS, RUNGS, Scorer, scorer_hash
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.suites import read_suite
from trainables.tasks.task import (
    Attempt,
    BatchScore,
    Message,
    OutsideSuite,
    Prompt,
    Purpose,
    Score,
    Split,
)

__all__ = ["StrictJson"]


class StrictJson:
    """Answer an instruction with exactly one fenced JSON document that fits a schema.

    Cheap to construct and to pickle: splits are built when first asked for, and neither
    they nor compiled schemas travel to other processes.
    """

    kind: str = "strict_json"
    rungs: tuple[str, ...] = RUNGS
    primary_rung = "strict"
    components: tuple[str, ...] = COMPONENTS
    measures: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = DIFFICULTIES
    max_prompt_tokens = 512
    outside_suites: tuple[str, ...] = tuple(OUTSIDE_SUITES)

    def __init__(self, settings: StrictJsonSettings | None = None) -> None:
        self.settings = settings or StrictJsonSettings()
        self._splits: dict[Split, tuple[Prompt, ...]] = {}

    def __reduce__(self) -> tuple[type["StrictJson"], tuple[StrictJsonSettings]]:
        return StrictJson, (self.settings,)

    def prompts(self, split: Split) -> Sequence[Prompt]:
        """Return all prompts of a split, always in the same order."""
        if split not in self._splits:
            sizes = self.settings
            size = sizes.num_train_prompts if split == "train" else sizes.num_eval_prompts
            self._splits[split] = kept_split(split, seed=sizes.data_seed, num_prompts=size)
        return self._splits[split]

    def read_suite(self, path: Path) -> Sequence[Prompt]:
        """Read prompts with their schemas from a JSONL file, see ``suites``."""
        return read_suite(path)

    def outside_suite(self, name: str, part: str) -> OutsideSuite:
        """Load real-world schemas from a package or the hub, see ``outside``."""
        return outside_suite(name, part)

    def messages(self, prompt: Prompt, *, thinking: bool) -> list[Message]:
        """Return the system message and the instruction."""
        return [
            {"role": "system", "content": system_prompt(thinking=thinking)},
            {"role": "user", "content": prompt.text},
        ]

    def score_batch(
        self, attempts: Sequence[Attempt], *, thinking: bool, purpose: Purpose
    ) -> BatchScore:
        """Score completions one by one, for either purpose alike."""
        return BatchScore(
            [
                self.score(
                    attempt.completion,
                    attempt.prompt,
                    thinking=thinking,
                    think_prefilled=attempt.think_prefilled,
                )
                for attempt in attempts
            ]
        )

    def score(
        self, completion: str, prompt: Prompt, *, thinking: bool, think_prefilled: bool
    ) -> Score:
        """Score one completion; never raises on any completion text."""
        return self._scorer.score(
            completion,
            prompt.columns["schema"],
            thinking=thinking,
            think_prefilled=think_prefilled,
        )

    def answer_grammar(self, prompt: Prompt) -> str:
        """Return the grammar of a fenced document that conforms, see ``HasAnswerGrammar``."""
        return answer_grammar(prompt.columns["schema"])

    def gold_completion(self, prompt: Prompt, *, thinking: bool) -> str | None:
        """Return the fenced gold document behind a short thought, see ``HasGold``."""
        return gold_of(prompt, thinking=thinking)

    def probes(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return the gold answer and answers that earn rewards without it, see ``HasProbes``."""
        return probes_of(prompt, thinking=thinking)

    def scorer_hash(self) -> str:
        """Identify the scoring code: results under different hashes are not comparable."""
        return scorer_hash()

    def data_hash(self) -> str:
        """Identify the prompts of all splits and the wording around them."""
        return self._data_hash

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer()

    @cached_property
    def _data_hash(self) -> str:
        return data_hash(
            {
                "train": self.prompts("train"),
                "validation": self.prompts("validation"),
                "test": self.prompts("test"),
            }
        )

"""Decoding under grammars: what a random model writes then, and what happens where it cannot."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_llama import save_byte_llama
from tiny_llama import save_random_llama
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from strictune.config import SamplingSpec
from strictune.errors import TrialError
from trainables.evaluation.keys import measurement_keys
from trainables.evaluation.measurement import Measurement
from trainables.evaluation.suite import evaluate_suite
from trainables.models import load_tokenizer, resolve_model
from trainables.prompting import render_prompt
from trainables.rollouts.completion import Completion
from trainables.rollouts.constraint import full_grammar
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.task import StrictJson
from trainables.tasks.task import Attempt, Prompt

SCHEMA = {
    "type": "object",
    "required": ["kind", "size"],
    "properties": {"kind": {"enum": ["a", "b"]}, "size": {"type": "boolean"}},
    "additionalProperties": False,
}
UNKNOWN = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
DECODING = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=120)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    torch.set_num_threads(1)
    return load_tokenizer(resolve_model("builtin:tiny"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """Return random weights: nothing but the grammar can make an answer right."""
    folder = save_byte_llama(tmp_path_factory.mktemp("llama"))
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module")
def random_tokenizer(model: PreTrainedModel) -> PreTrainedTokenizerBase:
    return load_tokenizer(resolve_model(model.name_or_path))


@cache
def task() -> StrictJson:
    return StrictJson(StrictJsonSettings())


def prompt(name: str, schema: object) -> Prompt:
    return Prompt(
        id=name,
        text="Write it.",
        family=name,
        difficulty="simple",
        columns={"schema": json.dumps(schema)},
    )


def decode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, grammars: Sequence[str] | None
) -> tuple[list[Completion], dict[str, str]]:
    engine = TransformersEngine(model, tokenizer, batch_size=3)
    prompts = [f"Prompt {number}" for number in range(len(grammars) if grammars else 4)]
    completions = engine.generate(prompts, DECODING, seed=0, grammars=grammars)
    return completions, dict(engine.grammar_problems)


def test_random_weights_answer_strictly_under_a_grammar(
    model: PreTrainedModel, random_tokenizer: PreTrainedTokenizerBase
) -> None:
    grammar = full_grammar(
        task().answer_grammar(prompt("p", SCHEMA)),
        random_tokenizer,
        thinking=False,
        max_think_tokens=0,
    )
    completions, problems = decode(model, random_tokenizer, [grammar] * 8)
    ended = [completion for completion in completions if not completion.is_truncated]
    assert len(ended) >= 4
    for completion in ended:
        attempt = Attempt(completion.text, prompt("p", SCHEMA), False, False)
        score = task().score(attempt, thinking=False)
        assert score.criteria["strict"], completion.text
    assert problems == {}


@pytest.mark.parametrize("schema", [SCHEMA, {}, True], ids=["object", "empty", "true"])
@pytest.mark.parametrize(
    ("layout", "is_allowed"),
    [
        pytest.param({"separators": (",", ":")}, True, id="compact"),
        pytest.param({"indent": 2}, True, id="indented"),
        pytest.param({"indent": 4}, True, id="wide"),
        pytest.param({"indent": "\t"}, True, id="tabs"),
        pytest.param({"separators": ("," + " " * 600, ": ")}, False, id="blanks-to-the-end"),
    ],
)
def test_a_document_may_be_laid_out_and_not_padded(
    schema: object, layout: dict[str, Any], is_allowed: bool
) -> None:
    from llguidance import LLMatcher, LLTokenizer

    document = {"kind": "a", "size": True} if schema == SCHEMA else [{"a": [1, 2]}, {}]
    answer = f"```json\n{json.dumps(document, **layout)}\n```"
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, f"start: answer\n{task().answer_grammar(prompt('p', schema))}")
    tokens = tokenizer.tokenize_str(answer)
    is_read = matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
    assert is_read is (is_allowed or schema is True)


def test_each_completion_of_a_batch_keeps_to_its_own_grammar(
    model: PreTrainedModel, random_tokenizer: PreTrainedTokenizerBase
) -> None:
    words = ["one", "two, much longer than the others", "three", "four"]
    grammars = [f'start: answer\nanswer: "{word}"\n' for word in words]
    completions, _ = decode(model, random_tokenizer, grammars)
    assert [completion.text for completion in completions] == words
    assert not any(completion.is_truncated for completion in completions)


@pytest.mark.parametrize("limit", [pytest.param(12, id="limited"), pytest.param(0, id="free")])
def test_the_think_block_comes_first_and_is_closed(
    tokenizer: PreTrainedTokenizerBase, limit: int
) -> None:
    """The tiny tokenizer has the closing tag as a special token, which text cannot match."""
    model = AutoModelForCausalLM.from_pretrained(resolve_model("builtin:tiny").location)
    grammar = full_grammar(
        task().answer_grammar(prompt("p", SCHEMA)), tokenizer, thinking=True, max_think_tokens=limit
    )
    asked = task().messages(task().prompts("validation")[0], thinking=True)
    text = render_prompt(tokenizer, asked, thinking=True).text
    engine = TransformersEngine(model, tokenizer, batch_size=8)
    completions = engine.generate([text] * 8, DECODING, seed=0, grammars=[grammar] * 8)
    assert engine.grammar_problems == {}
    ended = [completion.text for completion in completions if not completion.is_truncated]
    assert ended
    for text in ended:
        thought, closing, answer = text.partition("</think>")
        assert closing
        assert answer.lstrip("\n").startswith("```json\n")
        assert not limit or len(tokenizer.encode(thought, add_special_tokens=False)) <= limit + 1


@pytest.mark.parametrize("thought", ["1 < 2, a <b>, <<x", "a <</think>\nmore ", "no <"])
def test_a_thought_holds_no_closing_tag(tokenizer: PreTrainedTokenizerBase, thought: str) -> None:
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    grammar = full_grammar('answer: "done"\n', tokenizer, thinking=True, max_think_tokens=0)
    matcher = LLMatcher(from_tokenizer(tokenizer), grammar)
    ids = tokenizer.encode(f"{thought}</think>\ndone", add_special_tokens=False)
    is_whole = matcher.try_consume_tokens(ids) == len(ids)
    # What ends in "<" would leave it open where the tag begins.
    assert is_whole == ("</think>" not in thought and not thought.endswith("<"))


def test_a_tag_that_is_ordinary_text_closes_too(
    model: PreTrainedModel, random_tokenizer: PreTrainedTokenizerBase
) -> None:
    assert len(random_tokenizer.encode("</think>", add_special_tokens=False)) > 1
    grammar = full_grammar('answer: "done"\n', random_tokenizer, thinking=True, max_think_tokens=4)
    completions, problems = decode(model, random_tokenizer, [grammar] * 3)
    assert problems == {}
    assert all(one.text.endswith("</think>\ndone") or one.text.endswith("</think>\n\ndone")
               for one in completions)  # fmt: skip


def test_a_schema_that_the_engine_cannot_read_is_decoded_freely_and_counted(
    model: PreTrainedModel, random_tokenizer: PreTrainedTokenizerBase
) -> None:
    prompts = [prompt("known", SCHEMA), prompt("unknown", UNKNOWN)]
    result = evaluate_suite(
        TransformersEngine(model, random_tokenizer, batch_size=4),
        random_tokenizer,
        task=task(),
        prompts=prompts,
        split="mine",
        thinking=False,
        sampling=SamplingSpec(samples_per_prompt=2, max_new_tokens=16),
        answer_grammars=[task().answer_grammar(one) for one in prompts],
    )
    problems = result.samples.groupby("prompt_id")["grammar_problem"].unique()
    assert problems["known"].tolist() == [""]
    (reason,) = problems["unknown"]
    assert reason == 'failed to compile JSON schema: Unimplemented keys: ["uniqueItems"]'
    assert result.summary()["grammar_problems"] == {reason: 1}
    known = result.samples[result.samples["prompt_id"] == "known"]["completion"]
    assert all(text.startswith("```json"[: len(text)]) for text in known)


def test_a_tokenizer_that_the_engine_cannot_read_is_refused(tmp_path: Path) -> None:
    folder = save_random_llama(tmp_path)
    random = AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(TrialError, match="cannot hold this model to a grammar"):
        decode(random, load_tokenizer(resolve_model(str(folder))), ['start: "a"\n'])


def test_without_grammars_nothing_is_said_of_them(
    model: PreTrainedModel, random_tokenizer: PreTrainedTokenizerBase
) -> None:
    result = evaluate_suite(
        TransformersEngine(model, random_tokenizer, batch_size=4),
        random_tokenizer,
        task=task(),
        prompts=[prompt("p", SCHEMA)],
        split="mine",
        thinking=False,
        sampling=SamplingSpec(samples_per_prompt=1, max_new_tokens=4),
    )
    assert "grammar_problem" not in result.samples
    assert "grammar_problems" not in result.summary()


def test_results_under_a_grammar_have_another_evaluation_key(model: PreTrainedModel) -> None:
    def key(grammars: tuple[str, ...] | None) -> dict[str, object]:
        measured = Measurement(
            task=task(),
            prompts=(prompt("p", SCHEMA),),
            split="mine",
            data="d",
            model=resolve_model(model.name_or_path),
            quantization="none",
            dtype="float32",
            thinking=False,
            sampling=SamplingSpec(),
            answer_grammars=grammars,
        )
        return dict(measurement_keys(measured).evaluation)

    free, held, other = key(None), key(('answer: "a"',)), key(('answer: "b"',))
    assert "grammar" not in free  # Results from before keep their keys.
    assert {name: value for name, value in held.items() if name != "grammar"} == free
    assert str(held["grammar"]).startswith("llguidance ")
    assert held["grammar"] != other["grammar"]


def test_all_but_repetition_free_arrays_of_the_task_can_be_constrained(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    assert task().has_grammar
    engine = from_tokenizer(tokenizer)
    refused = []
    for one in task().prompts("validation"):
        grammar = full_grammar(
            task().answer_grammar(one), tokenizer, thinking=False, max_think_tokens=0
        )
        if LLMatcher.validate_grammar(grammar, engine):
            refused.append(one)
    assert len(refused) < 0.1 * len(task().prompts("validation"))
    assert all("unique_items" in one.constructs for one in refused)

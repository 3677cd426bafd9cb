"""Hostile completions: nothing raises, nothing hangs, and time is linear in length."""

import json
import random
from collections.abc import Callable

import pytest
from growth import check_growth, cpu_s

from trainables.tasks.strict_json.scoring import Scorer

SCHEMAS = {
    "patterns": {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "string", "pattern": "^(a+)+$"},
            "b": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "pattern": "^(?=x?)((a|aa)+)+$"},
            },
        },
    },
    "look-around": {"items": {"type": "string", "pattern": "(?=.*x)(a|a)*(?<!b)c"}},
    "recursive": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "anyOf": [
                    {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}},
                ]
            }
        },
    },
    "search": {
        "$ref": "#/$defs/somewhere",
        "$defs": {
            "somewhere": {
                "anyOf": [
                    {"type": "array", "minItems": 3, "items": {"type": "string"}},
                    {"type": "array", "contains": {"$ref": "#/$defs/somewhere"}},
                    {
                        "type": "object",
                        "not": {"additionalProperties": {"not": {"$ref": "#/$defs/somewhere"}}},
                    },
                ]
            }
        },
    },
    "unique": {
        "type": "array",
        "uniqueItems": True,
        "items": {"type": "string", "format": "email"},
    },
}

Kind = Callable[[int], str]


def _repeat(unit: str, before: str = "", after: str = "") -> Kind:
    return lambda length: before + unit * (length // len(unit)) + after


KINDS: dict[str, Kind] = {
    "brackets": _repeat("["),
    "objects-in-objects": _repeat('{"a":'),
    "closed-brackets": lambda n: f"```json\n{'[' * (n // 2)}{']' * (n // 2)}\n```",
    "flat-brackets": _repeat("[],", "```json\n[", "[]]\n```"),
    "as-deep-as-allowed": lambda n: f"```json\n{'[' * 490}{'1,' * (n // 2)}1{']' * 490}\n```",
    "digits": _repeat("1", '```json\n{"a":', "}\n```"),
    "float-digits": _repeat("1", '```json\n{"a":0.', "e5}\n```"),
    "huge-numbers": _repeat("1e999,", "```json\n["),
    "not-numbers": _repeat("NaN,", "```json\n["),
    "spaces-behind-a-fence": _repeat(" ", "```json", '{"a":1}'),
    "spaces-around-fences": lambda n: f"```{' ' * (n // 2)}x```{' ' * (n // 2)}",
    "ticks": _repeat("`"),
    "fences": _repeat("```"),
    "json-fences": _repeat("```json\n"),
    "info-strings": _repeat("```a" + " " * 50),
    "long-info-string": _repeat("a", "```"),
    "open-tags": _repeat("<think>"),
    "closed-tags": _repeat("<think></think>"),
    "closing-tags": _repeat("</think>"),
    "fences-in-tags": _repeat("<think>```json</think>"),
    "filler-thoughts": _repeat("your reasoning here ", "<think>", "</think>```json\n{}\n```"),
    "thinking-without-end": _repeat("blah blah ", "<think>"),
    "quotes": _repeat('"', "```json\n"),
    "escaped-quotes": _repeat('\\"', '```json\n["'),
    "backslashes": _repeat("\\", '```json\n["'),
    "escaped-surrogates": _repeat("\\ud800", '```json\n["', '"]\n```'),
    "raw-surrogates": _repeat("\ud800", '```json\n["', '"]\n```'),
    "surrogates-alone": _repeat("\udc00"),
    "nul": _repeat("\0"),
    "nul-in-a-string": _repeat("\0", '```json\n["', '"]\n```'),
    "one-word": _repeat("a"),
    "two-letters": _repeat("ab"),
    "words": _repeat("word "),
    "marks": _repeat("-=~"),
    "other-script": _repeat("\u601d\u8003"),
    "random-letters": lambda n: "".join(random.Random(0).choices("ab", k=n)),
    "random-words": lambda n: " ".join(random.Random(0).choices("ab", k=n // 2)),
    "nested-quantifier": _repeat("a", '```json\n{"a":"', '!","b":["x"]}\n```'),
    "nested-quantifier-with-look-ahead": _repeat("a", '```json\n{"a":"a","b":["', '!"]}\n```'),
    "many-hard-strings": _repeat(f'"{"a" * 30}!",', '```json\n{"a":"a","b":[', '"a"]}\n```'),
    "long-string-item": _repeat("a", '```json\n["', '"]\n```'),
    "wrong-items": _repeat("1,", "```json\n[", "1]\n```"),
    "wrong-objects": _repeat('{"a":1},', "```json\n[", "{}]\n```"),
    "distinct-items": lambda n: fenced_json([f"{number}@x.org" for number in range(n // 12)]),
    "many-keys": lambda n: fenced_json({f"k{number}": 1 for number in range(n // 10)}),
    "equal-keys": _repeat('"a":1,', "```json\n{", '"a":1}\n```'),
    "long-email": _repeat("a.", '```json\n["', '@x.org"]\n```'),
    "comments": _repeat("// x\n", "```json\n{", "}\n```"),
    "strings-without-end": _repeat('"a",', "```json\n["),
}


def fenced_json(document: object) -> str:
    return f"```json\n{json.dumps(document)}\n```"


def _score_all(scorer: Scorer, completion: str) -> None:
    for schema in SCHEMAS.values():
        text = json.dumps(schema)
        for thinking in (False, True):
            score = scorer.score(completion, text, thinking=thinking, think_prefilled=thinking)
            assert -1.0 <= min(score.rewards.values()) <= max(score.rewards.values()) <= 1.0


def test_deep_items_that_must_be_unique_do_not_raise() -> None:
    deep = f"{'[' * 400}{']' * 400}"
    schema = json.dumps({"items": {"uniqueItems": True}, "uniqueItems": True})
    completion = f"```json\n[{deep}, {deep}]\n```"
    score = Scorer().score(completion, schema, thinking=False, think_prefilled=False)
    assert score.criteria["parsed"]
    assert not score.criteria["conformant"]


def test_deep_and_explosive_schemas_can_be_graded() -> None:
    deep: dict[str, object] = {"type": "string"}
    for _ in range(100):
        deep = {"type": "object", "required": ["a"], "properties": {"a": deep}}
    names = [f"n{number}" for number in range(10)]
    branches = [{"$ref": f"#/$defs/{name}"} for name in names]
    object_of_branches = {"type": "object", "properties": {"a": {"anyOf": branches}}}
    explosive = {"$ref": "#/$defs/n0", "$defs": dict.fromkeys(names, object_of_branches)}
    for schema in (deep, explosive):
        text = json.dumps(schema)
        completion = '```json\n{"a": {"a": [1]}}\n```'
        score = Scorer().score(completion, text, thinking=False, think_prefilled=False)
        assert 0.0 < score.rewards["schema"] < 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_completions_are_scored_in_time(kind: str) -> None:
    assert cpu_s(lambda: _score_all(Scorer(), KINDS[kind](20_000))) < 5.0


def _random_completion(rng: random.Random) -> str:
    """Put pieces of markup, JSON and noise together, cut anywhere."""
    pieces = [
        "```json\n", "```", "<think>", "</think>", "{", "}", "[", "]", '"', ":", ",", "\\", "\\u",
        "\\ud83d", '"a"', '"b": [', "1e400", "-", "9" * 4400, "NaN", "true", "nul", "\0", "\ud800",
        "\u2028", " " * 50, "\n", "a" * 60, "your reasoning here", "[" * 600, "]" * 600, "\ufeff",
    ]  # fmt: skip
    weights = [8 if len(piece) < 10 else 1 for piece in pieces]
    text = "".join(rng.choices(pieces, weights, k=rng.randrange(1, 40)))
    return text[rng.randrange(3) : len(text) - rng.randrange(3)]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(1_000, id="1000"),
        pytest.param(12_000, id="12000", marks=pytest.mark.slow),
    ],
)
def test_random_markup_never_raises(number: int) -> None:
    rng = random.Random(number)
    scorer = Scorer()
    for _ in range(number):
        _score_all(scorer, _random_completion(rng))


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("kind", KINDS)
def test_time_is_linear_in_length(kind: str, schema: str) -> None:
    scorer = Scorer()
    text = json.dumps(SCHEMAS[schema])

    def score(length: int) -> None:
        scorer.score(KINDS[kind](length), text, thinking=True, think_prefilled=False)

    # Four times the length in four times the time; in sixteen times if it were quadratic.
    check_growth(score, 25_000, factor=4, below=6)

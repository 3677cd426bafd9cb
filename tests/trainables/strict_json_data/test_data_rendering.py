"""Instructions: they state every constraint of the schema, and nothing else."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

import pytest

from trainables.tasks.strict_json.measure import DIFFICULTIES
from trainables.tasks.strict_json.rendering import LAYOUTS, render
from trainables.tasks.strict_json.scenes import COLLECTIONS, GENERAL, PARTS, SUBJECTS, TOPICS
from trainables.tasks.strict_json.schemas import realize
from trainables.tasks.strict_json.shapes import draw_shape
from trainables.tasks.strict_json.vocabulary import FIELDS, LISTS, MAPS, PATTERNS
from trainables.tasks.strict_json.wording import WORDINGS, Voice, join

T = TypeVar("T")


class FixedRandom(Random):
    """Takes the same place in every choice, so that only the schema moves the text."""

    def __init__(self, place: int) -> None:
        super().__init__(0)
        self.place = place

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        return seq[self.place % len(seq)]

    def random(self) -> float:
        return 0.99


def _object(member: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"first": {"type": "string"}, "second": member},
        "required": ["first", "second"],
        **extra,
    }


def _array(items: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **extra}


TEXT = {"type": "string"}
WHOLE = {"type": "integer"}

CONSTRUCTS = [
    pytest.param(_object(TEXT), r'"second".*(string|text)', id="string"),
    pytest.param(_object(WHOLE), r"(integer|whole number)", id="integer"),
    pytest.param(_object({"type": "number"}), r"(number|numeric)", id="number"),
    pytest.param(_object({"type": "boolean"}), r"(boolean|true or false)", id="boolean"),
    pytest.param(_object({"type": ["string", "null"]}), r"null", id="nullable"),
    pytest.param(_object({**WHOLE, "minimum": 7, "maximum": 41}), r"\b7\b.*\b41\b", id="range"),
    pytest.param(
        _object({**WHOLE, "minimum": 7}), r"(at least|not below) 7\b|7 or more", id="minimum"
    ),
    pytest.param(
        _object({**WHOLE, "maximum": 41}), r"(at most|not above) 41\b|41 or less", id="maximum"
    ),
    pytest.param(
        _object({"type": "number", "exclusiveMinimum": 3}),
        r"(greater than|strictly above|larger than) 3\b",
        id="exclusive-minimum",
    ),
    pytest.param(
        _object({**WHOLE, "multipleOf": 5}), r"(multiple of|divisible by) 5\b", id="multiple"
    ),
    pytest.param(
        _object({**TEXT, "minLength": 4}),
        r"(at least 4|4 or more|shorter than 4) characters",
        id="min-length",
    ),
    pytest.param(
        _object({**TEXT, "maxLength": 30}),
        r"(at most|no more than|longer than) 30 characters",
        id="max-length",
    ),
    pytest.param(_object({**TEXT, "format": "date"}), r"YYYY-MM-DD", id="date"),
    pytest.param(_object({**TEXT, "format": "email"}), r"e-?mail address", id="email"),
    pytest.param(_object({**TEXT, "format": "uri"}), r"absolute URL|scheme", id="uri"),
    pytest.param(
        _object({**TEXT, "pattern": "^[A-Z]{3}$"}), r"three capital letters", id="pattern"
    ),
    pytest.param(_object({**TEXT, "enum": ["a", "b c", "d"]}), r'"a", "b c", or "d"', id="enum"),
    pytest.param(
        _object({**WHOLE, "const": 2}), r"(fixed value|constant|exactly the value) 2\b", id="const"
    ),
    pytest.param(
        _object({"type": "boolean", "const": True}), r"(value|constant) true", id="const-boolean"
    ),
    pytest.param(
        _object(TEXT, required=["first"]), r"optional|not required|left out", id="optional"
    ),
    pytest.param(_object(TEXT, additionalProperties=False), r"(other keys)", id="closed"),
    pytest.param(
        _object(_array(WHOLE, minItems=3, maxItems=3)),
        r"(exactly|precisely) 3 (integer|whole)",
        id="exact-count",
    ),
    pytest.param(
        _object(_array(TEXT, minItems=2)), r"at least 2|2 or more|fewer than 2", id="min-count"
    ),
    pytest.param(_object(_array(TEXT, maxItems=4)), r"(at most|more than|up to) 4", id="max-count"),
    pytest.param(_object(_array(TEXT, minItems=2, maxItems=4)), r"\b2\b.*\b4\b", id="count-range"),
    pytest.param(
        _object(_array(TEXT, uniqueItems=True)), r"duplicates|all different|repeats", id="unique"
    ),
    pytest.param(
        _object(_array({**WHOLE, "minimum": 3, "maximum": 8})),
        r"items, (each|every).* 3 .*8",
        id="limited-items",
    ),
    pytest.param(
        _object({"type": "object", "additionalProperties": WHOLE, "minProperties": 2}),
        r"(2|two).*keys.*(value|integer|whole number)",
        id="free-keys",
    ),
    pytest.param(
        _object(
            {
                "type": "object",
                "properties": {"third": WHOLE},
                "required": ["third"],
                "additionalProperties": False,
            }
        ),
        r'"third".*other keys.* in "second"',
        id="closed-part",
    ),
    pytest.param(
        _object(
            _array(
                {
                    "type": "object",
                    "properties": {"third": WHOLE},
                    "required": ["third"],
                    "additionalProperties": False,
                },
                minItems=2,
                maxItems=2,
            )
        ),
        r'2 objects.*"third".*other keys.* in the objects of "second"',
        id="closed-items",
    ),
    pytest.param(
        _array(_object(TEXT), minItems=3, maxItems=3), r'3 objects.*"second"', id="root-array"
    ),
    pytest.param(_array(WHOLE, minItems=3), r"JSON array.*3.*(integer|whole)", id="root-values"),
]


@pytest.mark.parametrize(("schema", "mention"), CONSTRUCTS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_wording_and_layout_mentions_the_construct(
    schema: dict[str, Any], mention: str, place: int
) -> None:
    texts = [render(schema, subject="a test", rng=FixedRandom(place))]
    if "properties" in schema:
        voices = (Voice(FixedRandom(place)) for _ in LAYOUTS)
        texts += [layout(schema, "a test", next(voices)) for layout in LAYOUTS.values()]
    for text in texts:
        assert re.search(mention, text, flags=re.DOTALL), text


@pytest.mark.parametrize("construct", sorted(WORDINGS))
def test_each_construct_has_three_wordings(construct: str) -> None:
    assert len(set(WORDINGS[construct])) >= 3


def test_each_pattern_has_three_wordings() -> None:
    for pattern in PATTERNS:
        assert len(set(pattern.wordings)) == 3


def _loosened(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schema with one constraint dropped, or one number or literal changed."""
    for path, node in _nodes(schema, ()):
        for keyword, value in node.items():
            if keyword in ("$schema", "type", "properties", "items", "required"):
                continue
            dropped = copy.deepcopy(dict(schema))
            target = _at(dropped, path)
            if keyword == "additionalProperties" and isinstance(value, Mapping):
                continue
            del target[keyword]
            yield f"{keyword} dropped", dropped
            if isinstance(value, int) and not isinstance(value, bool):
                changed = copy.deepcopy(dict(schema))
                _at(changed, path)[keyword] = value + 1
                yield f"{keyword} changed", changed
        for key in node.get("required", ()):
            optional = copy.deepcopy(dict(schema))
            _at(optional, path)["required"].remove(key)
            yield f"{key} optional", optional


def _nodes(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Any]:
    yield path, schema
    for key, child in schema.get("properties", {}).items():
        yield from _nodes(child, (*path, "properties", key))
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            yield from _nodes(schema[keyword], (*path, keyword))


def _at(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for step in path:
        schema = schema[step]
    return schema


@pytest.mark.parametrize("aim", DIFFICULTIES)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_constraint_can_change_without_the_text(aim: Any, place: int) -> None:
    rng = Random(23 + place)
    for _ in range(60):
        draft = realize(draw_shape(rng, aim), rng)
        text = render(draft.schema, subject=draft.subject, rng=FixedRandom(place))
        for what, other in _loosened(draft.schema):
            changed = render(other, subject=draft.subject, rng=FixedRandom(place))
            assert changed != text, f"{what}: {text}"


@pytest.mark.parametrize("aim", DIFFICULTIES)
def test_every_key_stands_in_double_quotes(aim: Any) -> None:
    rng = Random(29)
    for _ in range(200):
        draft = realize(draw_shape(rng, aim), rng)
        text = render(draft.schema, subject=draft.subject, rng=rng)
        for _, node in _nodes(draft.schema, ()):
            assert all(f'"{key}"' in text for key in node.get("properties", ()))
            assert all(json.dumps(value) in text for value in node.get("enum", ()))


@pytest.mark.parametrize("aim", DIFFICULTIES)
def test_texts_are_clean_english(aim: Any) -> None:
    rng = Random(31)
    for _ in range(400):
        draft = realize(draw_shape(rng, aim), rng)
        text = render(draft.schema, subject=draft.subject, rng=rng)
        assert text.isascii()
        assert not re.search(r" {2}(?! *- )|[{}]| ,|\.\.|None|\ba [aeio]", text), text
        assert not re.search(r"\ban [^aeioI]", text), text
        assert re.match(r"[A-Z]", text)


def test_containers_have_names_of_their_own() -> None:
    names = [*FIELDS, *LISTS, *MAPS, *PARTS, *COLLECTIONS]
    assert len(names) == len(set(names))


def test_scenes_only_name_known_keys() -> None:
    scenes = [topic.keys for topic in TOPICS]
    scenes += [*PARTS.values(), *COLLECTIONS.values(), GENERAL]
    assert {key for keys in scenes for key in keys} <= FIELDS.keys()
    assert SUBJECTS.keys() == LISTS.keys() | MAPS.keys()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(["a"], "a", id="one"),
        pytest.param(["a", "b"], "a and b", id="two"),
        pytest.param(["a", "b", "c"], "a, b, and c", id="three"),
    ],
)
def test_join_reads_like_english(parts: list[str], expected: str) -> None:
    assert join(parts) == expected

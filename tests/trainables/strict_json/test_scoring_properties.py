"""Random schemas: gold is strict with full marks, and every kind of damage costs."""

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema
from scoring_material import MAXIMA, THOUGHT, fenced, scored, thoughtful, total

from trainables.tasks.strict_json.scoring import Scorer

SCORER = Scorer()
LETTERS = st.text(alphabet="abcdefg", min_size=1, max_size=6)

SCALARS = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "string", "minLength": 2, "maxLength": 9}),
    st.just({"type": "string", "pattern": "^[a-z]{2,5}$"}),
    st.just({"type": "string", "format": "date"}),
    st.just({"type": "integer", "minimum": 0, "maximum": 99}),
    st.just({"type": "number", "exclusiveMinimum": -5}),
    st.just({"type": "boolean"}),
    st.builds(lambda options: {"enum": options}, st.lists(LETTERS, min_size=2, unique=True)),
    st.builds(lambda option: {"const": option}, LETTERS),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(LETTERS, inner, min_size=1, max_size=4).flatmap(
        lambda properties: st.builds(
            lambda closed: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": not closed,
            },
            st.booleans(),
        )
    )


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda items, number, exact: {
            "type": "array",
            "items": items,
            "minItems": number,
            **({"maxItems": number} if exact else {}),
        },
        inner,
        st.integers(1, 3),
        st.booleans(),
    )


TREES = st.recursive(SCALARS, lambda inner: _objects(inner) | _arrays(inner), max_leaves=6)
SCHEMAS = _objects(TREES) | _arrays(TREES)

stable = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _instances(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw conforming documents; hypothesis-jsonschema 0.23 cannot draw objects any more."""
    if schema.get("type") == "object":
        members = {name: _instances(inner) for name, inner in schema["properties"].items()}
        return st.fixed_dictionaries(members)
    if schema.get("type") == "array":
        most = schema.get("maxItems", schema["minItems"] + 2)
        return st.lists(_instances(schema["items"]), min_size=schema["minItems"], max_size=most)
    return from_schema(schema, codec="utf-8")


def _gold(data: st.DataObject, schema: dict[str, Any]) -> Any:
    return data.draw(_instances(schema))


@stable
@given(SCHEMAS, st.data())
def test_gold_is_strict_with_full_marks(schema: dict[str, Any], data: st.DataObject) -> None:
    document = _gold(data, schema)
    indent = data.draw(st.sampled_from([None, 0, 2, 8]))
    text = fenced(json.dumps(document, indent=indent, ensure_ascii=data.draw(st.booleans())))
    score = scored(text, schema, scorer=SCORER)
    assert score.criteria["strict"]
    assert score.rewards == MAXIMA
    assert score.error_class == "ok"
    thinking = scored(thoughtful(text), schema, thinking=True, scorer=SCORER)
    assert thinking.criteria["strict"]
    assert thinking.rewards == MAXIMA


def _containers(value: Any) -> list[Any]:
    """List every array and object in a document, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = [container for element in inner for container in _containers(element)]
    return [value, *nested] if isinstance(value, (dict, list)) else nested


def _drop(document: Any, data: st.DataObject) -> Any:
    container = data.draw(st.sampled_from([c for c in _containers(document) if c]))
    key = data.draw(st.sampled_from(sorted(container) if isinstance(container, dict) else [-1]))
    del container[key]
    return document


def _replace(document: Any, data: st.DataObject) -> Any:
    container = data.draw(st.sampled_from([c for c in _containers(document) if c]))
    keys = sorted(container) if isinstance(container, dict) else list(range(len(container)))
    container[data.draw(st.sampled_from(keys))] = {"not": ["asked", "for"]}
    return document


def _add(document: Any, data: st.DataObject) -> Any:
    container = data.draw(st.sampled_from(_containers(document)))
    if isinstance(container, dict):
        container["zz-extra"] = None
    else:
        container.append(copy.deepcopy(container[0]) if container else None)
    return document


DOCUMENT_DAMAGES = {
    "drop": _drop,
    "replace": _replace,
    "add": _add,
    "wrap": lambda document, _: {"zz-answer": document},
    "list": lambda document, _: [document],
}


@pytest.mark.parametrize("damage", DOCUMENT_DAMAGES)
@stable
@given(schema=SCHEMAS, data=st.data())
def test_damaged_documents_lose(damage: str, schema: dict[str, Any], data: st.DataObject) -> None:
    gold = _gold(data, schema)
    wrong = DOCUMENT_DAMAGES[damage](copy.deepcopy(gold), data)
    score = scored(fenced(json.dumps(wrong)), schema, scorer=SCORER)
    # Not every addition is an error; what the validator accepts is no damage.
    assume(not score.criteria["conformant"] or damage in ("replace", "wrap"))
    assert not score.criteria["strict"]
    assert score.rewards["schema"] <= 0.95
    assert score.error_class != "ok"
    assert total(score) < total(scored(fenced(json.dumps(gold)), schema, scorer=SCORER))


TEXT_DAMAGES = {
    "half": lambda text: text[: len(text) // 2],
    "unclosed": lambda text: text[:-3],
    "repeated": lambda text: f"{text}\n{text}",
    "chat-before": lambda text: f"Sure!\n{text}",
    "chat-behind": lambda text: f"{text}\nDone.",
    "no-fence": lambda text: text[8:-4],
    "other-fence": lambda text: text.replace("```json", "```", 1),
    "uninvited": lambda text: thoughtful(text),
    "uninvited-and-empty": lambda text: thoughtful(text, ""),
    "single-quotes": lambda text: text.replace('"', "'"),
    "trailing-comma": lambda text: f"{text[:-5]},{text[-5:]}",
}


@pytest.mark.parametrize("damage", TEXT_DAMAGES)
@stable
@given(schema=SCHEMAS, data=st.data())
def test_damaged_completions_lose(damage: str, schema: dict[str, Any], data: st.DataObject) -> None:
    gold = fenced(json.dumps(_gold(data, schema)))
    wrong = TEXT_DAMAGES[damage](gold)
    assume(wrong != gold)
    score = scored(wrong, schema, scorer=SCORER)
    assert not score.criteria["strict"]
    assert score.rewards["schema"] < 1.0 or score.rewards["strictness"] < 1.0
    assert total(score) < total(scored(gold, schema, scorer=SCORER))


@stable
@given(schema=SCHEMAS, data=st.data())
def test_losing_the_think_block_costs(schema: dict[str, Any], data: st.DataObject) -> None:
    gold = fenced(json.dumps(_gold(data, schema)))
    full = scored(thoughtful(gold), schema, thinking=True, scorer=SCORER)
    for wrong in (
        gold,
        thoughtful(gold, "..."),
        thoughtful(gold, "no no"),
        f"<think>{THOUGHT}{gold}",
    ):
        score = scored(wrong, schema, thinking=True, scorer=SCORER)
        assert not score.criteria["strict"]
        assert total(score, thinking=True) < total(full, thinking=True)


@stable
@given(schema=SCHEMAS, data=st.data())
def test_adding_valid_items_or_keys_never_raises_a_wrong_total(
    schema: dict[str, Any], data: st.DataObject
) -> None:
    """A hundred copies of what is already there, in a container whose size was right."""
    gold = _gold(data, schema)
    wrong = _replace(copy.deepcopy(gold), data)
    before = scored(fenced(json.dumps(wrong)), schema, scorer=SCORER)
    assume(not before.criteria["conformant"])
    container = data.draw(st.sampled_from(_containers(gold)))
    twin = _twin(gold, wrong, container)
    assume(twin is not None)
    if isinstance(container, dict):
        twin.update({f"zz-{number}": number for number in range(100)})
    else:
        assume(len(container) > 0)
        twin.extend(copy.deepcopy(container[0]) for _ in range(100))
    after = scored(fenced(json.dumps(wrong)), schema, scorer=SCORER)
    assert total(after) <= total(before)


def _twin(gold: Any, wrong: Any, container: Any) -> Any:
    """Find in ``wrong`` what stands where ``container`` stands in ``gold``."""
    if gold is container:
        return wrong if isinstance(wrong, type(gold)) else None
    if isinstance(gold, dict) and isinstance(wrong, dict):
        pairs = [(gold[key], wrong[key]) for key in gold if key in wrong]
    elif isinstance(gold, list) and isinstance(wrong, list):
        pairs = list(zip(gold, wrong, strict=False))
    else:
        return None
    found = (_twin(one, other, container) for one, other in pairs)
    return next((twin for twin in found if twin is not None), None)


@stable
@given(st.text(), st.booleans(), st.booleans())
def test_no_text_raises(text: str, thinking: bool, think_prefilled: bool) -> None:
    schema = {"type": "object", "required": ["a"]}
    score = scored(text, schema, thinking=thinking, think_prefilled=think_prefilled, scorer=SCORER)
    assert not score.criteria["strict"]

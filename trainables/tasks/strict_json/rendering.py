"""Renders a schema as an instruction that states all its constraints.

There are three layouts: running text, a list, and commands. Keys are always in double quotes, and a
container is described where its key appears or in a sentence that names it; for this the keys of
containers must differ within a schema, as ``schemas`` ensures. Only what that module generates is
supported, without combinators and references.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from trainables.tasks.strict_json.wording import Voice, join

__all__ = ["LAYOUTS", "render"]

Schema = Mapping[str, Any]

_LEAF_NOISE = frozenset({"type", "$schema"})


class _Group(NamedTuple):
    """The keys of one object, and where it is."""

    record: Schema
    key: str
    """The quoted key of the container; empty for the root."""
    is_each: bool
    """Whether the record is the item of an array."""

    @property
    def place(self) -> str:
        """Where the keys are, as the end of a sentence."""
        if self.is_each:
            return f" of {self.key}" if self.key else ""
        return f" in {self.key}" if self.key else ""

    @property
    def closed_place(self) -> str:
        """Where no other keys are allowed, as the end of a sentence."""
        return f" in the objects{self.place}" if self.is_each else self.place


def render(schema: Schema, *, subject: str, rng: Random) -> str:
    """Return the instruction for a schema about a subject."""
    layout = rng.choice(tuple(LAYOUTS.values())) if _has_records(schema) else _root_value
    return layout(schema, subject, Voice(rng))


def _render_text(schema: Schema, subject: str, voice: Voice) -> str:
    opening = _opening(schema, subject, voice)
    sentences: list[str] = []
    for group in _groups(schema):
        keys = join(
            [
                f"{_quote(key)} ({_bare(_member(group.record, key, voice))})"
                for key in group.record["properties"]
            ]
        )
        if group.is_each:
            place = f" in {group.key}" if group.key else ""
            sentence = voice.say("keys_in_each", place=place, keys=keys)
            sentences.append(f"{opening}. {sentence}" if not sentences else sentence)
        elif group.key:
            sentences.append(voice.say("keys_in_part", key=group.key, keys=keys))
        else:
            sentences.append(voice.say("keys", opening=opening, keys=keys))
        sentences.extend(_closing(group, voice))
    return " ".join(sentences)


def _render_commands(schema: Schema, subject: str, voice: Voice) -> str:
    sentences = [f"{_opening(schema, subject, voice)}."]
    for group in _groups(schema):
        commands = [
            voice.say("command", key=_quote(key), thing=_member(group.record, key, voice))
            for key in group.record["properties"]
        ]
        verb = commands[0].split(" ", 1)[0]
        rest = [command.removeprefix(f"{verb} ") for command in commands[1:]]
        text = _join_clauses([commands[0], *rest])
        where = f"In each object{group.place}, " if group.is_each else ""
        where = where or (f"In {group.key}, " if group.key else "")
        sentence = f"{where}{text}."
        sentences.append(sentence[0].upper() + sentence[1:])
        sentences.extend(_closing(group, voice))
    return " ".join(sentences)


def _render_list(schema: Schema, subject: str, voice: Voice) -> str:
    opening = _opening(schema, subject, voice)
    root = next(_groups(schema))
    if root.is_each:
        lines = [f"{opening}, {voice.say('list_in_each')}"]
    else:
        lines = [voice.say("list", opening=opening)]
    lines.extend(_bullets(root.record, voice, ""))
    closings = [line for group in _groups(schema) for line in _closing(group, voice)]
    return "\n".join([*lines, *([" ".join(closings)] if closings else [])])


LAYOUTS: dict[str, Callable[[Schema, str, Voice], str]] = {
    "text": _render_text,
    "list": _render_list,
    "commands": _render_commands,
}
"""The layouts of instructions, by name."""


def _bullets(record: Schema, voice: Voice, indent: str) -> Iterator[str]:
    for key, schema in record["properties"].items():
        thing = _member(record, key, voice)
        inner = _record_of(schema)
        if inner is None:
            yield f"{indent}- {_quote(key)}: {thing}"
            continue
        if inner is schema:
            thing = voice.say("list_in_part", thing=thing)
        else:
            thing = f"{thing}, {voice.say('list_in_each')}"
        yield f"{indent}- {_quote(key)}: {thing}"
        yield from _bullets(inner, voice, indent + "  ")


def _opening(schema: Schema, subject: str, voice: Voice) -> str:
    """Return the opening sentence without its full stop: what to write, and about what."""
    if "properties" in schema or not _has_records(schema):
        name = "object" if schema["type"] == "object" else "array"
        return voice.say("opening", what=f"a JSON {name}", subject=subject)
    count = _count(schema, "objects", "Items", voice)
    unique = f", {voice.say('unique')}," if schema.get("uniqueItems") else ""
    return voice.say("opening", what=f"a JSON array {count}{unique}", subject=subject)


def _root_value(schema: Schema, subject: str, voice: Voice) -> str:
    """Return the whole instruction for a root without named keys."""
    opening = _opening(schema, subject, voice)
    return voice.say("root_value", opening=opening, thing=_thing(schema, voice))


def _closing(group: _Group, voice: Voice) -> Iterator[str]:
    if group.record.get("additionalProperties") is False:
        yield voice.say("closed", place=group.closed_place)


def _groups(schema: Schema, key: str = "") -> Iterator[_Group]:
    """Yield the records of a schema, from the outside in."""
    record = _record_of(schema)
    if record is None:
        return
    yield _Group(record, key, is_each=record is not schema)
    for name, member in record["properties"].items():
        yield from _groups(member, _quote(name))


def _has_records(schema: Schema) -> bool:
    return _record_of(schema) is not None


def _record_of(schema: Schema) -> Schema | None:
    """Return a schema's object with named keys: the schema itself, or its items."""
    if "properties" in schema:
        return schema
    items = schema.get("items", {})
    return items if "properties" in items else None


def _member(record: Schema, key: str, voice: Voice) -> str:
    thing = _thing(record["properties"][key], voice)
    return thing if key in record["required"] else f"{thing}, {voice.say('optional')}"


def _thing(schema: Schema, voice: Voice) -> str:
    """Return a noun phrase for a value; callers add the keys of a record."""
    if "properties" in schema:
        return voice.say("object")
    if schema["type"] == "array":
        return _array(schema, voice)
    if schema["type"] == "object":
        return _map(schema, voice)
    return _leaf(schema, voice)


def _array(schema: Schema, voice: Voice) -> str:
    items = schema["items"]
    is_plain = items.keys() == {"type"}
    plural = "objects" if "properties" in items else f"{items['type']}s" if is_plain else "items"
    noun = voice.say(plural) if is_plain else plural
    text = f"{voice.say('array')} {_count(schema, noun, 'Items', voice)}"
    if schema.get("uniqueItems"):
        text += f", {voice.say('unique')}"
    if plural == "items":
        text += f", {voice.say('each', thing=_leaf(items, voice))}"
    return text


def _map(schema: Schema, voice: Voice) -> str:
    count = _count(schema, voice.say("free_keys"), "Properties", voice)
    if count.startswith("of "):
        count = count.replace("of ", "with ", 1)
    value = voice.say("value_each", thing=_leaf(schema["additionalProperties"], voice))
    return f"{voice.say('map')} {count}, {value}"


def _count(schema: Schema, items: str, noun: str, voice: Voice) -> str:
    words = {
        side: voice.count(schema[f"{keyword}{noun}"])
        for side, keyword in (("low", "min"), ("high", "max"))
        if f"{keyword}{noun}" in schema
    }
    if len(words) == 2 and words["low"] == words["high"]:
        return voice.say("count_exact", items=items, **words)
    construct = "count_range" if len(words) == 2 else f"count_{next(iter(words), 'any')}"
    return voice.say(construct, items=items, **words)


def _leaf(schema: Schema, voice: Voice) -> str:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    thing = _value(schema, names[0], voice)
    return voice.say("null", thing=thing) if "null" in names else thing


def _value(schema: Schema, name: str, voice: Voice) -> str:
    if "const" in schema:
        return voice.say("const", value=json.dumps(schema["const"]))
    if "enum" in schema:
        return voice.say("enum", choices=join([json.dumps(v) for v in schema["enum"]], "or"))
    if "format" in schema:
        return voice.say(schema["format"])
    noun = voice.say(name)
    if "pattern" in schema:
        return f"{noun} {voice.pattern(schema['pattern'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{noun} {voice.say('range', low=low, high=high)}"
    for keyword in schema.keys() - _LEAF_NOISE:
        bound = schema[keyword]
        return f"{noun} {voice.say(keyword, low=bound, high=bound, step=bound)}"
    return noun


def _join_clauses(clauses: list[str]) -> str:
    """Join clauses, with semicolons if there are commas inside them."""
    if len(clauses) == 1 or not any(", " in clause for clause in clauses):
        return join(clauses)
    return f"{'; '.join(clauses[:-1])}; and {clauses[-1]}"


def _quote(key: str) -> str:
    return json.dumps(key)


def _bare(thing: str) -> str:
    """Remove the article."""
    return thing.removeprefix("an ").removeprefix("a ")

"""The phrases of instructions: at least three for every construct.

Phrases for single values are noun phrases with their article, so that they fit
``"age" (integer from 1 to 9)`` (without the article), ``- "age": an integer from 1 to 9`` and
``set "age" to an integer from 1 to 9`` alike. Each states its limit in full, with the number or
literal in digits or as JSON, and whether a bound itself is allowed.
"""

from collections.abc import Sequence
from random import Random

from trainables.tasks.strict_json.vocabulary import PATTERNS

__all__ = ["WORDINGS", "Voice", "join"]

WORDINGS: dict[str, tuple[str, ...]] = {
    # Types: a noun with its article.
    "string": ("a string", "a text string", "a text value"),
    "integer": ("an integer", "a whole number", "an integer value"),
    "number": ("a number", "a numeric value", "a JSON number"),
    "boolean": ("a boolean", "true or false", "a boolean value"),
    "strings": ("strings", "text strings", "text values"),
    "integers": ("integers", "whole numbers", "integer values"),
    "numbers": ("numbers", "numeric values", "JSON numbers"),
    "booleans": ("booleans", "true or false values", "boolean values"),
    "null": ("{thing} or null", "{thing}, or null if unknown", "{thing}, null allowed"),
    # Limits: they follow the noun.
    "range": (
        "from {low} to {high}",
        "between {low} and {high} inclusive",
        "of at least {low} and at most {high}",
    ),
    "minimum": ("of at least {low}", "not below {low}", "that is {low} or more"),
    "maximum": ("of at most {high}", "not above {high}", "that is {high} or less"),
    "exclusiveMinimum": ("greater than {low}", "strictly above {low}", "larger than {low}"),
    "multipleOf": (
        "that is a multiple of {step}",
        "that is divisible by {step}",
        "evenly divisible by {step}",
    ),
    "minLength": (
        "of at least {low} characters",
        "with {low} or more characters",
        "no shorter than {low} characters",
    ),
    "maxLength": (
        "of at most {high} characters",
        "with no more than {high} characters",
        "no longer than {high} characters",
    ),
    # Strings of a given form: whole noun phrases.
    "date": (
        "a date as YYYY-MM-DD",
        "an ISO 8601 date, YYYY-MM-DD",
        "a date string in the form YYYY-MM-DD",
    ),
    "email": ("an email address", "a valid email address", "an e-mail address"),
    "uri": (
        "an absolute URL",
        "a full URL with its scheme",
        "a complete web address including the scheme",
    ),
    "enum": ("one of {choices}", "either {choices}", "exactly one of {choices}"),
    "const": ("the fixed value {value}", "the constant {value}", "exactly the value {value}"),
    # Arrays: ``items`` is a plural noun, or the word items followed by what each must be.
    "array": ("an array", "a list", "a JSON array"),
    "count_any": ("of {items}", "that holds {items}", "containing {items}"),
    "count_exact": (
        "of exactly {low} {items}",
        "with precisely {low} {items}",
        "that has exactly {low} {items}",
    ),
    "count_low": (
        "of at least {low} {items}",
        "with {low} or more {items}",
        "of no fewer than {low} {items}",
    ),
    "count_high": (
        "of at most {high} {items}",
        "with no more than {high} {items}",
        "of up to {high} {items}",
    ),
    "count_range": (
        "of {low} to {high} {items}",
        "with between {low} and {high} {items}",
        "of at least {low} and at most {high} {items}",
    ),
    "unique": ("without duplicates", "all different", "with no repeats"),
    "each": ("each {thing}", "each of them {thing}", "every one {thing}"),
    # Objects.
    "object": ("an object", "a JSON object", "a nested object"),
    "map": ("an object", "a JSON object", "one object"),
    "free_keys": ("keys of your choice", "freely chosen keys", "keys that you choose"),
    "value_each": ("each value {thing}", "every value {thing}", "with {thing} as each value"),
    "optional": ("optional", "not required", "may be left out"),
    "closed": (
        "No other keys are allowed{place}.",
        "Do not add any other keys{place}.",
        "Leave out all other keys{place}.",
    ),
    # Keys in running text, ``"name" (string)``.
    "keys": (
        "{opening} with the keys {keys}.",
        "{opening}. It has the keys {keys}.",
        "{opening}. Include the keys {keys}.",
    ),
    "keys_in_part": (
        "The {key} object has the keys {keys}.",
        "In {key}, include the keys {keys}.",
        "{key} is an object with the keys {keys}.",
    ),
    "keys_in_each": (
        "Each object{place} has the keys {keys}.",
        "Every object{place} comes with the keys {keys}.",
        "Give each object{place} the keys {keys}.",
    ),
    # Keys as commands: the verb, and the words between a key and its value.
    "command": ("set {key} to {thing}", "make {key} {thing}", "include {key} as {thing}"),
    # Keys as a list.
    "list": ("{opening}. Keys:", "{opening}. It has these keys:", "{opening} with these keys:"),
    "list_in_part": ("{thing} with these keys:", "{thing} that has:", "{thing} containing:"),
    "list_in_each": ("each with these keys:", "each of which has:", "where each has:"),
    # Whole instructions.
    "root_value": (
        "{opening}: {thing}.",
        "{opening}. It must be {thing}.",
        "{opening}. The whole answer is {thing}.",
    ),
    "opening": (
        "Write {what} for {subject}",
        "Generate {what} describing {subject}",
        "Create {what} about {subject}",
        "Return {what} for {subject}",
        "I need {what} for {subject}",
        "Please give me {what} for {subject}",
        "Produce {what} describing {subject}",
    ),
}
"""Templates by construct."""

_PATTERN_WORDINGS = {pattern.regex: pattern.wordings for pattern in PATTERNS}
_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}


class Voice:
    """Chooses phrases, with the same wording of a construct throughout an instruction."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._chosen: dict[str, str] = {}
        self._spells_counts = rng.random() < 0.3

    def say(self, construct: str, **values: object) -> str:
        """Fill the template of a construct."""
        if construct not in self._chosen:
            self._chosen[construct] = self._rng.choice(WORDINGS[construct])
        return self._chosen[construct].format(**values)

    def pattern(self, regex: str) -> str:
        """Return the phrase for a pattern of the vocabulary."""
        if regex not in self._chosen:
            self._chosen[regex] = self._rng.choice(_PATTERN_WORDINGS[regex])
        return self._chosen[regex]

    def count(self, number: int) -> str:
        """Return a number in digits, or in words if this voice uses them."""
        return _WORDS.get(number, str(number)) if self._spells_counts else str(number)


def join(parts: Sequence[str], word: str = "and") -> str:
    """Join parts as in English: ``a``, ``a and b``, ``a, b, and c``."""
    if len(parts) < 3:
        return f" {word} ".join(parts)
    return f"{', '.join(parts[:-1])}, {word} {parts[-1]}"

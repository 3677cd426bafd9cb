"""The one thing to say about a completion that is not strict, for tables and failure reports.

Classes follow the ladder: what keeps a completion from its first missed rung names it.
"""

from trainables.tasks.strict_json.completion import Completion
from trainables.tasks.strict_json.thinking import ThinkVerdict
from trainables.tasks.strict_json.validation import Errors, Violation, first_violation

__all__ = ["classify"]

_ENDED_EARLY = frozenset({"parse_unexpected_end", "parse_unterminated_string"})
_THINK_CLASSES = {
    "missing": "think_missing",
    "unclosed": "think_missing",
    "placeholder": "think_placeholder",
    "too_little": "think_too_little",
}


def classify(
    completion: Completion,
    *,
    errors: Errors,
    is_conformant: bool,
    thinking: bool,
    verdict: ThinkVerdict,
) -> Violation:
    """Name the first thing wrong with a completion, and where it is.

    Args:
        completion: The completion.
        errors: What its document violates, if it parses.
        is_conformant: Its document conforms.
        thinking: Thinking was asked for.
        verdict: What its think block is worth.

    Returns:
        ``ok`` for a strict completion; else the class, with a JSON pointer, or with the
        position in the model's own text for errors outside a document's structure.
    """
    if not completion.is_parsed:
        return _unparsed(completion)
    if not is_conformant:
        return first_violation(errors) if errors else Violation("over_limits", "")
    if completion.outside:
        several = "```" in completion.outside
        return Violation("several_fences" if several else "text_outside", _position(completion))
    if thinking:
        return Violation(_THINK_CLASSES.get(verdict, "ok"), "")
    return Violation("ok" if verdict == "missing" else "think_uninvited", "")


def _unparsed(completion: Completion) -> Violation:
    at = str(max(completion.error_at - completion.offset, 0))
    if completion.form == "none" and completion.is_think_open:
        return Violation("truncated", at)
    if completion.form in ("none", "bare"):
        return Violation("no_fence", "")
    if not completion.is_closed or completion.error in _ENDED_EARLY:
        return Violation("truncated", at)
    if completion.form == "other_fence":
        return Violation("other_fence", "")
    return Violation(completion.error, at)


def _position(completion: Completion) -> str:
    """Return where the outside text begins, in the model's own text."""
    at = completion.text.find(completion.outside.split(maxsplit=1)[0])
    return str(max(at - completion.offset, 0))

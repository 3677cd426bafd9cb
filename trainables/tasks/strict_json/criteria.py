"""The scoring ladder: five criteria; from ``parsed`` on, each implies the one before."""

from trainables.tasks.strict_json.completion import THINK_CLOSE, THINK_OPEN, Completion
from trainables.tasks.strict_json.reading import accepted_by_json_loads
from trainables.tasks.strict_json.thinking import ThinkVerdict

__all__ = ["CRITERIA", "place", "published_syntax"]

CRITERIA = ("syntax", "parsed", "conformant", "clean", "strict")
"""The ladder, lowest first."""

_FENCE = "```"
_JSON_FENCE = "```json"


def place(
    completion: Completion, *, is_valid: bool, thinking: bool, verdict: ThinkVerdict
) -> dict[str, bool]:
    """Return which criteria a completion meets.

    Args:
        completion: The parsed completion.
        is_valid: Whether its candidate document validates.
        thinking: Whether thinking was asked for.
        verdict: The verdict on its think block.
    """
    parsed = completion.is_parsed
    conformant = parsed and is_valid
    clean = conformant and not completion.outside
    return {
        "syntax": published_syntax(completion),
        "parsed": parsed,
        "conformant": conformant,
        "clean": clean,
        "strict": clean and verdict == ("real" if thinking else "missing"),
    }


def published_syntax(completion: Completion) -> bool:
    """Return the published Pass@1, for comparison: whether ``json.loads`` accepts the answer.

    The answer is the first lower-case json fence anywhere, think blocks included; else the first
    fence of any kind; else the text without think blocks if it starts with a bracket.
    """
    text = completion.text
    opened = text.find(_JSON_FENCE)
    first = opened + len(_JSON_FENCE) if opened >= 0 else -1
    closed = text.find(_FENCE, first) if first >= 0 else -1
    if closed < 0:
        opened = text.find(_FENCE)
        first = opened + len(_FENCE) if opened >= 0 else -1
        closed = text.find(_FENCE, first) if first >= 0 else -1
    if closed < 0:
        bare = _without_think_blocks(text).strip()
        return bare.startswith(("{", "[")) and accepted_by_json_loads(bare)
    if (
        completion.is_parsed
        and completion.end == closed
        and first <= completion.start
        and not text[first : completion.start].strip()
    ):
        return True  # The candidate is the same text, and it parses.
    return accepted_by_json_loads(text[first:closed].strip())


def _without_think_blocks(text: str) -> str:
    kept = []
    position = 0
    while (opened := text.find(THINK_OPEN, position)) >= 0:
        closed = text.find(THINK_CLOSE, opened)
        if closed < 0:
            break
        kept.append(text[position:opened])
        position = closed + len(THINK_CLOSE)
    return "".join(kept) + text[position:]

"""What a document that does not parse had got right before its first error.

Everything completely read is kept and the open brackets are closed, so that broken and
cut-off answers can be told apart by how much of the schema they had already met.
"""

import re

from trainables.tasks.strict_json.reading import read_document

__all__ = ["salvage"]

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[\[\]{},]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def salvage(text: str, start: int, error_at: int) -> object:
    """Return the value of ``text[start:error_at]`` cut back to its last complete element.

    None if no array or object had begun. What comes before the error must be valid JSON.
    """
    open_brackets: list[str] = []
    cut = start
    for match in _TOKEN.finditer(text, start, error_at):
        token = match.group()
        if token in _CLOSING:
            open_brackets.append(_CLOSING[token])
            cut = match.end()
        elif token == ",":
            cut = match.start()
        elif open_brackets and token == open_brackets[-1]:
            open_brackets.pop()
            cut = match.end()
    if cut == start:
        return None
    return read_document(text[start:cut] + "".join(reversed(open_brackets)), 0).document

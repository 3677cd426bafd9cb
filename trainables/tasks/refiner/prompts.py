"""The prompt of a row, and answers in the requested format.

Rows with messages of their own use them unchanged. The system prompt shows no example of an answer,
because models imitate examples.
"""

from collections.abc import Iterable

from trainables.tasks.refiner.rows import RefinerRow
from trainables.tasks.task import Message

__all__ = ["ABSTENTION", "cited", "gold_answer", "row_messages"]

ABSTENTION = "The evidence does not answer this."
"""The whole answer where the evidence does not answer the question."""

_SYSTEM = (
    "You turn search results into a short answer. Write one <answer> block. Put every factual "
    "claim into snippet tags whose id attribute names the results that show it. Cite only ids "
    f"that you were given. If the results do not answer the question, write: {ABSTENTION}"
)


def row_messages(row: RefinerRow) -> list[Message]:
    """Return the chat messages of a row."""
    if row.messages:
        return list(row.messages)
    parts = [f"Question: {row.question}"]
    if row.reasoning:
        parts.append(f"Reasoning: {row.reasoning}")
    parts.append(
        "\n".join(["Results:", *(cited(text, [key]) for key, text in row.evidence.items())])
    )
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def cited(text: str, ids: Iterable[str]) -> str:
    """Return a text in snippet tags."""
    return f"<snippet id={','.join(ids)}>{text}</snippet>"


def gold_answer(body: str) -> str:
    """Wrap the body of an answer in answer tags."""
    return f"<answer>{body}</answer>"

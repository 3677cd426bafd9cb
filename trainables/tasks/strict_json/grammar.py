"""The grammar of a strict answer: one json fence around a document of the schema.

The document's grammar is the engine's reading of the schema. It is narrower than the schema:
members stand in the order of ``properties``. It is wider in one point: no grammar remembers free
keys, so that an object of free keys may hold one twice and then fall short of ``minProperties``.
"""

__all__ = ["answer_grammar"]


def answer_grammar(schema: str) -> str:
    """Return the rules for answers to a schema, given as JSON text."""
    return f'answer: "```json\\n" document "\\n```"\ndocument: %json {schema}\n'

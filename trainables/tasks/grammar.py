"""What a task offers beyond ``Task`` when its right answers can be written as a grammar.

Left out of ``Task``: most tasks have none, and nothing but constrained decoding asks for one.
"""

from typing import Protocol, runtime_checkable

from trainables.tasks.task import Prompt

__all__ = ["HasAnswerGrammar"]


@runtime_checkable
class HasAnswerGrammar(Protocol):
    """A task whose answers a grammar engine can be held to."""

    def answer_grammar(self, prompt: Prompt) -> str:
        """Return the rule ``answer`` and those below it, in llguidance's dialect of Lark.

        ``answer`` is everything behind a think block, which is no business of the task.
        """

"""What a task offers beyond ``Task`` when its right answers can be written as a grammar.

Left out of ``Task``: most tasks have none, and nothing but constrained decoding asks for one.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from strictune.errors import SpecError
from trainables.tasks.task import Prompt, Task

__all__ = ["HasAnswerGrammar", "answer_grammars"]


@runtime_checkable
class HasAnswerGrammar(Protocol):
    """A task whose answers a grammar engine can be held to."""

    def answer_grammar(self, prompt: Prompt) -> str:
        """Return the rule ``answer`` and those below it, in llguidance's dialect of Lark.

        ``answer`` is everything behind a think block, which is no business of the task.
        """


def answer_grammars(task: Task, prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """Return the grammar of each prompt's answer.

    Raises:
        SpecError: The task has none.
    """
    if not isinstance(task, HasAnswerGrammar):
        raise SpecError(
            f"--constrain: no grammar describes the answers of task {task.kind}. Leave it out."
        )
    return tuple(task.answer_grammar(prompt) for prompt in prompts)

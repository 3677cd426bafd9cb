"""What a task offers beyond ``Task`` when it knows right answers to its own prompts.

Left out of ``Task``: learning from rewards never asks for them, only supervised training does.
"""

from typing import Protocol, runtime_checkable

from trainables.tasks.task import Prompt

__all__ = ["HasGold"]


@runtime_checkable
class HasGold(Protocol):
    """A task that can be learned from examples."""

    def gold_completion(self, prompt: Prompt, *, thinking: bool) -> str | None:
        """Return what a model should write after the rendered prompt; None if it is not known.

        With thinking the prompt has opened the think block, so the completion starts inside it
        and closes it. The token that ends a turn is left out: each model has its own.
        """

"""What a task offers beyond ``Task`` when it knows answers that rewards are fooled by.

Left out of ``Task``: training never asks for them, only the audit of a reward does.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from trainables.tasks.task import Prompt

__all__ = ["GOLD", "HasProbes"]

GOLD = "gold"
"""The name of the answer of full marks that probes are held against."""


@runtime_checkable
class HasProbes(Protocol):
    """A task that can answer its own prompts, well and badly."""

    def probes(self, prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
        """Return completions by name, ``GOLD`` among them, as a model would write them in full.

        The same names for every prompt; empty for a prompt whose right answer is not known.
        """

"""The tasks that ship with strictune, by the ``kind`` of their settings.

A new task is one folder with a settings class and a ``Task``, and one entry in ``TASKS``.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, cast

from pydantic import Field

from strictune.errors import SpecError
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.task import Task

__all__ = ["TASKS", "TaskSettings", "load_task"]

TaskSettings = Annotated[StrictJsonSettings | RefinerSettings, Field(discriminator="kind")]
"""The ``task`` block of a sweep file: one settings class for each kind."""

TASKS: Mapping[str, str] = MappingProxyType(
    {
        "refiner": "trainables.tasks.refiner.task:Refiner",
        "strict_json": "trainables.tasks.strict_json.task:StrictJson",
    }
)
"""Where each kind's ``Task`` lives; imported when it is first needed."""


def load_task(settings: TaskSettings) -> Task:
    """Build the task that ``settings`` describe.

    Raises:
        SpecError: Its entry in ``TASKS`` leads nowhere.
    """
    module, name = TASKS[settings.kind].split(":")
    try:
        task_class = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"task.kind = {settings.kind}: {module}:{name}, its entry in TASKS of "
            f"trainables/tasks/__init__.py, cannot be loaded ({error})."
        ) from error
    return cast(Task, task_class(settings))

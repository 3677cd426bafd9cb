"""The kinds of task, discovered from the folders of this package.

A folder ``<kind>`` holds ``task.py`` with one ``Task``, and the settings of that task in
``settings.py`` or in ``task.py``. Settings are imported at once, because sweep files are validated
against them; a separate ``settings.py`` avoids importing the scorer for that.
"""

import logging
from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import Field

from strictune.errors import SpecError
from trainables.tasks.base_settings import BaseSettings
from trainables.tasks.task import Task

__all__ = ["BROKEN", "TASKS", "TaskSettings", "load_task"]

logger = logging.getLogger(__name__)

C = TypeVar("C")


def load_task(settings: BaseSettings) -> Task:
    """Build the task that ``settings`` describe.

    Raises:
        SpecError: The task's folder defines no task, or cannot be imported.
    """
    return _only(Task, f"{__name__}.{settings.kind}.task", settings.kind)(settings)


def _settings_by_kind() -> tuple[Mapping[str, type[BaseSettings]], Mapping[str, str]]:
    """Return the settings class of each kind, and of folders without one the reason."""
    found, broken = {}, {}
    folders = (file.parent for root in __path__ for file in Path(root).glob("*/task.py"))
    for folder in sorted(folders):
        try:
            found[folder.name] = _settings_in(folder)
        except SpecError as error:
            broken[folder.name] = str(error)
            logger.warning("%s Sweeps of other tasks are not affected.", error)
    return MappingProxyType(found), MappingProxyType(broken)


def _settings_in(folder: Path) -> type[BaseSettings]:
    kind = folder.name
    module = "settings" if (folder / "settings.py").exists() else "task"
    found = _only(BaseSettings, f"{__name__}.{kind}.{module}", kind)
    declared = get_args(found.model_fields["kind"].annotation)
    if declared != (kind,):
        raise SpecError(
            f"{folder}: {found.__name__}.kind is {declared or 'not declared'}, expected "
            f'kind: Literal["{kind}"], the name of its folder.'
        )
    return found


def _only(base: type[C], module: str, kind: str) -> type[C]:
    """Return the one subclass of ``base`` that a module defines."""
    try:
        members: list[Any] = list(vars(import_module(module)).values())
    except Exception as error:
        raise SpecError(
            f"task.kind = {kind}: {module} cannot be imported ({type(error).__name__}: {error})."
        ) from error
    found = [
        member
        for member in members
        if isinstance(member, type) and issubclass(member, base) and member.__module__ == module
    ]
    if len(found) != 1:
        names = ", ".join(member.__name__ for member in found) or "none"
        raise SpecError(
            f"task.kind = {kind}: {module} defines {names}, expected one subclass of "
            f"{base.__name__}."
        )
    return found[0]


TASKS, BROKEN = _settings_by_kind()
"""The settings class of each kind, and why a folder's cannot be used."""

if TYPE_CHECKING:
    TaskSettings = BaseSettings
else:
    TaskSettings = Annotated[reduce(or_, TASKS.values()), Field(discriminator="kind")]
"""The type of a sweep file's ``task`` block: any of the settings classes."""

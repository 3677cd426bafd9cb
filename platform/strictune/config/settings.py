"""Settings by dotted key, e.g. ``grpo.beta``, put on top of what a sweep's trials start from.

Variants of a matrix and the points of a search are such settings. The keys are those below
``trial`` in a sweep file, without what the matrix itself crosses, and those that begin with
``task.``: what changes the reward may differ between trials, what evaluations measure may not.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from strictune.config.base import Problem, Spec
from strictune.config.hints import explain
from strictune.config.trial import TrialTemplate
from trainables.tasks import TaskSettings

__all__ = [
    "CROSSED_KEYS",
    "Settings",
    "SettingsError",
    "Start",
    "apply_settings",
    "file_key",
    "setting_at",
]

Settings = dict[str, JsonValue]
"""Values by dotted key."""

CROSSED_KEYS = ("model", "thinking", "curriculum", "method", "seed")
"""Keys of a trial that the matrix crosses; settings may not change them."""
TASK = "task"
KIND = "task.kind"


class Start(Spec):
    """What trials start from: the blocks of a sweep file that settings reach."""

    trial: TrialTemplate
    """The template."""
    task: TaskSettings
    """Data, prompts and scoring."""


class SettingsError(ValueError):
    """Settings from which no trial can be made."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        """In keys of the file."""
        super().__init__(" ".join(f"{found.key} {found.text}".strip() for found in self.problems))


def file_key(key: str) -> str:
    """Return where a setting stands in a sweep file: below ``task`` or below ``trial``."""
    return key if key.startswith(f"{TASK}.") else f"trial.{key}"


def apply_settings(start: Start, settings: Mapping[str, JsonValue]) -> Start:
    """Return ``start`` with ``settings`` on top; a mapping is replaced as a whole.

    Raises:
        SettingsError: They hold what the matrix crosses, or the result makes no trial, is of
            another task, or would be measured in another way than the rest of the sweep.
    """
    if not settings:
        return start
    _refuse_crossed(settings)
    data: Any = start.model_dump(mode="json")
    for key, value in settings.items():
        if key == KIND and value != start.task.kind:
            text = f"= {value}, but all trials of a sweep are of one task, {start.task.kind}."
            raise SettingsError([Problem(KIND, text)])
        data = _with(data, file_key(key).split("."), value)
    try:
        changed = Start.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise SettingsError(explain(error, data=data, schema=Start.model_json_schema())) from error
    touched = [key for key in settings if key.startswith(f"{TASK}.")]
    _refuse_other_measure(start.task, changed.task, changed=touched)
    return changed


def setting_at(start: Spec, key: str) -> JsonValue:
    """Return the value of a setting in a ``Start``, or in a trial.

    Raises:
        KeyError: There is no such key.
    """
    path = (file_key(key) if isinstance(start, Start) else key).split(".")
    node: Any = start.model_dump(mode="json")
    for part in path:
        try:
            node = node[int(part)] if isinstance(node, list) else node[part]
        except (LookupError, TypeError, ValueError) as error:
            raise KeyError(key) from error
    return node  # type: ignore[no-any-return]


def _refuse_crossed(settings: Mapping[str, JsonValue]) -> None:
    """Refuse settings that the values of the matrix would overwrite."""
    firsts = {key: key.partition(".")[0] for key in settings}
    crossed = {key: first for key, first in firsts.items() if first in CROSSED_KEYS}
    if crossed:
        raise SettingsError(
            Problem(
                file_key(key),
                f"is crossed by the matrix, not set for a part of it. Use matrix.{first}.",
            )
            for key, first in crossed.items()
        )


def _with(node: Any, path: Sequence[str], value: JsonValue) -> Any:
    """Return a document with a value at a path; missing mappings are created.

    A mapping where none belongs is left to validation.
    """
    if not path:
        return value
    part, *rest = path
    if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
        index = int(part)
        return [*node[:index], _with(node[index], rest, value), *node[index + 1 :]]
    children = node if isinstance(node, dict) else {}
    return {**children, part: _with(children.get(part), rest, value)}


def _refuse_other_measure(
    ours: TaskSettings, theirs: TaskSettings, *, changed: Sequence[str]
) -> None:
    """Refuse settings under which results could not be compared with the rest of the sweep."""
    before, after = ours.measure(), theirs.measure()
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if keys:
        text = (
            f"decides what evaluations measure, and {', '.join(changed)} changes it. Cells "
            "that are measured differently cannot be compared: set it in the block task, for all."
        )
        raise SettingsError(Problem(f"{TASK}.{key}", text) for key in keys)

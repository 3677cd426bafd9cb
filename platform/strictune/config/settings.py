"""Settings of a trial by dotted key, e.g. ``grpo.beta``, put on top of a sweep's template.

Variants of a matrix and the points of a search are such settings. The keys are those below
``trial`` in a sweep file, without what the matrix itself crosses.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from strictune.config.trial import TrialTemplate

__all__ = ["CROSSED_KEYS", "Settings", "apply_settings", "setting_at"]

Settings = dict[str, JsonValue]
"""Values by dotted key."""

CROSSED_KEYS = ("model", "thinking", "curriculum", "method", "seed")
"""Keys of a trial that the matrix crosses; settings may not change them."""


def apply_settings(template: TrialTemplate, settings: Mapping[str, JsonValue]) -> TrialTemplate:
    """Return ``template`` with ``settings`` on top; a mapping is replaced as a whole.

    Raises:
        pydantic.ValidationError: The result is no template; keys are relative to ``trial``.
    """
    if not settings:
        return template
    data = template.model_dump(mode="json")
    for key, value in settings.items():
        *parents, last = key.split(".")
        node: Any = data
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    return TrialTemplate.model_validate_json(json.dumps(data), strict=True)


def setting_at(template: TrialTemplate, key: str) -> JsonValue:
    """Return the value at a dotted key.

    Raises:
        KeyError: There is no such key.
    """
    node: Any = template.model_dump(mode="json")
    for part in key.split("."):
        try:
            node = node[int(part)] if isinstance(node, list) else node[part]
        except (LookupError, TypeError, ValueError) as error:
            raise KeyError(key) from error
    return node  # type: ignore[no-any-return]

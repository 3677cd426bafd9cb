"""The curricula of strict_json as plain data, in the words of a sweep file's stages."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

__all__ = ["CURRICULA"]

CURRICULA: Mapping[str, Sequence[Mapping[str, object]]] = MappingProxyType(
    {
        "standard": ({"name": "standard", "steps_frac": 1.0},),
        "three_stage": (
            {
                "name": "format_basics",
                "steps_frac": 0.32,
                "mix": {"simple": 35.0, "medium": 55.0, "hard": 10.0},
                "temperature": 0.8,
            },
            {
                "name": "progressive",
                "steps_frac": 0.32,
                "mix": {"simple": 15.0, "medium": 35.0, "hard": 50.0},
                "temperature": 0.7,
            },
            {
                "name": "full_difficulty",
                "steps_frac": 0.36,
                "mix": {"simple": 10.0, "medium": 25.0, "hard": 65.0},
                "temperature": 0.6,
            },
        ),
    }
)
"""``three_stage`` is the published one: 800, 800 and 900 of 2,500 steps."""

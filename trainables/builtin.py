"""Models that are committed here, with what a user must know about each of them."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["BUILTIN_MODELS", "BuiltinModel"]


class BuiltinModel(NamedTuple):
    """A committed model."""

    folder: Path
    note: str
    """Said wherever results of the model are shown."""


BUILTIN_MODELS = {
    "builtin:tiny": BuiltinModel(
        folder=Path(__file__).parent / "tiny" / "model",
        note=(
            "builtin:tiny shows that the path works, not that GRPO teaches schemas: it is a small "
            "Llama trained from scratch on strict_json's training families alone, partly on "
            "deliberately sloppy answers, so part of any gain is planted sloppiness un-learned. "
            "Its card, trainables/tiny/model/README.md, says how it was warmed up."
        ),
    ),
    "builtin:tiny_citing": BuiltinModel(
        folder=Path(__file__).parent / "tiny" / "citing" / "model",
        note=(
            "builtin:tiny_citing shows that the path works, not that GRPO teaches citing: it is a "
            "small Llama trained from scratch on made-up rows, partly on deliberately bad answers, "
            "so part of any gain is planted sloppiness un-learned. Its card, "
            "trainables/tiny/citing/model/README.md, says how it was warmed up."
        ),
    ),
}

"""The names of cells and trials in tables, in MLflow and of folders."""

import re

__all__ = ["GRPO", "SEPARATOR", "cell_name", "short_model_name", "trial_slug"]

SEPARATOR = " \N{MIDDLE DOT} "

GRPO = "grpo"
"""The default method; names leave it out."""

_CHAT_SUFFIX = re.compile(r"-(instruct|it|chat)(-v[0-9.]+)?$")
_UNSAFE = re.compile(r"[^a-z0-9.]+")


def short_model_name(model: str) -> str:
    """Return the short name of a model that tables show.

    ``HuggingFaceTB/SmolLM2-135M-Instruct`` and ``package:smollm2-135m`` are both
    ``smollm2-135m``; a sweep that holds both falls back to the full names.
    """
    last = model.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1].lower()
    return _CHAT_SUFFIX.sub("", last) or model


def cell_name(
    *, model: str, thinking: bool, curriculum: str, method: str = GRPO, variant: str | None = None
) -> str:
    """Return e.g. ``smollm2-135m . think . three-stage``, with middle dots and the variant last.

    A method other than GRPO stands before the variant.
    """
    parts = [_arm(thinking), curriculum, *_marks(method, variant)]
    return SEPARATOR.join([model, *(part.replace("_", "-") for part in parts)])


def trial_slug(
    *,
    model: str,
    thinking: bool,
    curriculum: str,
    method: str = GRPO,
    variant: str | None,
    seed: int,
) -> str:
    """Return the readable half of a trial id, e.g. ``smollm2-135m-think-three-stage-s1``."""
    marks = _marks(method, variant)
    text = "-".join([short_model_name(model), _arm(thinking), curriculum, *marks, f"s{seed}"])
    return _UNSAFE.sub("-", text.lower()).strip("-.")


def _marks(method: str, variant: str | None) -> list[str]:
    """Return the method and the variant, without defaults."""
    named = (method if method != GRPO else None, variant)
    return [part for part in named if part is not None]


def _arm(thinking: bool) -> str:
    return "think" if thinking else "no-think"

"""What trials are called: in tables, in MLflow and in folder names."""

import re

__all__ = ["SEPARATOR", "cell_name", "short_model_name", "trial_slug"]

SEPARATOR = " \N{MIDDLE DOT} "

_CHAT_SUFFIX = re.compile(r"-(instruct|it|chat)(-v[0-9.]+)?$")
_UNSAFE = re.compile(r"[^a-z0-9.]+")


def short_model_name(model: str) -> str:
    """Return what tables call a model.

    ``HuggingFaceTB/SmolLM2-135M-Instruct`` and ``package:smollm2-135m`` are both
    ``smollm2-135m``; a sweep that holds both falls back to the full names.
    """
    last = model.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1].lower()
    return _CHAT_SUFFIX.sub("", last) or model


def cell_name(*, model: str, thinking: bool, curriculum: str, variant: str | None = None) -> str:
    """Return e.g. ``smollm2-135m . think . three-stage``, with middle dots and the variant last."""
    parts = [model, _arm(thinking), curriculum]
    if variant is not None:
        parts.append(variant)
    return SEPARATOR.join([parts[0], *(part.replace("_", "-") for part in parts[1:])])


def trial_slug(
    *, model: str, thinking: bool, curriculum: str, variant: str | None, seed: int
) -> str:
    """Return the readable half of a trial id, e.g. ``smollm2-135m-think-three-stage-s1``."""
    parts = [short_model_name(model), _arm(thinking), curriculum, variant, f"s{seed}"]
    text = "-".join(part for part in parts if part is not None)
    return _UNSAFE.sub("-", text.lower()).strip("-.")


def _arm(thinking: bool) -> str:
    return "think" if thinking else "no-think"

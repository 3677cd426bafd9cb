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


def cell_name(*, model: str, thinking: bool, curriculum: str) -> str:
    """Return e.g. ``smollm2-135m . think . three-stage``, with middle dots."""
    arm = "think" if thinking else "no-think"
    return SEPARATOR.join((model, arm, curriculum.replace("_", "-")))


def trial_slug(*, model: str, thinking: bool, curriculum: str, seed: int) -> str:
    """Return the readable half of a trial id, e.g. ``smollm2-135m-think-three-stage-s1``."""
    arm = "think" if thinking else "no-think"
    text = "-".join((short_model_name(model), arm, curriculum, f"s{seed}"))
    return _UNSAFE.sub("-", text.lower()).strip("-.")

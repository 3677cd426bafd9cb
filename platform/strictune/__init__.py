"""Sweeps of GRPO fine-tuning on Ray, from a sweep file to verdicts.

``plan``, ``run`` and ``load_sweep`` are for Python and notebooks; see docs/notebooks.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strictune.notebook import load_sweep, plan, run

__all__ = ["__version__", "load_sweep", "plan", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # pandas and pydantic are not for the command's first screen.
    if name in ("load_sweep", "plan", "run"):
        from strictune import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

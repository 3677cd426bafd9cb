"""The published reward weights of strict_json, and the components that decide its objective.

Only constants and two lookups live here, so that configuration can read them without
the scorer. How a cell without thinking re-shares a weight table of its own is the
configuration's business.
"""

__all__ = ["COMPONENTS", "decisive_components", "default_weights"]

COMPONENTS = (
    "format",
    "validity",
    "schema",
    "reasoning",
    "truncation",
    "repetition",
    "strictness",
)
"""The seven reward components, in report order."""

_WITH_THINKING = (0.10, 0.15, 0.20, 0.25, 0.10, 0.10, 0.10)
_WITHOUT_THINKING = (0.20, 0.25, 0.25, 0.0, 0.10, 0.10, 0.10)


def default_weights(thinking: bool) -> dict[str, float]:
    """Return the published weight of every component; ``reasoning`` is 0 without thinking."""
    weights = _WITH_THINKING if thinking else _WITHOUT_THINKING
    return dict(zip(COMPONENTS, weights, strict=True))


def decisive_components(thinking: bool) -> frozenset[str]:
    """Return the components of which one is below its maximum whenever a completion is not strict.

    While all of their weights are positive, a strict completion outranks every other one.
    """
    decisive = {"schema", "strictness"}
    return frozenset(decisive | {"reasoning"} if thinking else decisive)

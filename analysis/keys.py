"""Which results may be compared: a comparison across different keys is refused, not made.

The evaluation key (suite, split, decoding, scorer) is equal in every comparison; the
baseline key (also model, precision, thinking, prompt) between a trial and its baseline.
Sample counts are no part of either.
"""

from collections.abc import Collection, Mapping

from strictune.errors import SpecError

__all__ = ["Key", "check_baseline_key", "check_evaluation_key", "differing_parts"]

Key = Mapping[str, str | int | float | bool | None]


def differing_parts(ours: Key, theirs: Key) -> dict[str, tuple[str, str]]:
    """Return each part that differs with both values as shown to people."""
    parts = dict.fromkeys((*ours, *theirs))
    shown = {part: (_shown(ours, part), _shown(theirs, part)) for part in parts}
    return {part: values for part, values in shown.items() if values[0] != values[1]}


def check_evaluation_key(
    ours: Key, theirs: Key, *, names: tuple[str, str], across: Collection[str] = ()
) -> None:
    """Refuse to compare results that were measured differently.

    Args:
        ours: One side's evaluation key.
        theirs: The other side's.
        names: What messages call the two sides.
        across: Parts that may differ, because the comparison is about them.

    Raises:
        SpecError: Another part differs; the message names it with both values.
    """
    _check("evaluation", ours, theirs, names, across)


def check_baseline_key(
    ours: Key, theirs: Key, *, names: tuple[str, str], across: Collection[str] = ()
) -> None:
    """Refuse to call the difference of two results a gain over a baseline.

    Arguments and errors as in ``check_evaluation_key``.
    """
    _check("baseline", ours, theirs, names, across)


def _check(
    kind: str, ours: Key, theirs: Key, names: tuple[str, str], across: Collection[str]
) -> None:
    parts = differing_parts(ours, theirs).items()
    found = {part: values for part, values in parts if part not in across}
    if found:
        listed = "; ".join(
            f"{part} is {mine} in {names[0]} but {other} in {names[1]}"
            for part, (mine, other) in found.items()
        )
        raise SpecError(
            f"{names[0]} and {names[1]} cannot be compared, their {kind} keys differ: {listed}. "
            "Evaluate both sides the same way, then compare again."
        )


def _shown(key: Key, part: str) -> str:
    return repr(key[part]) if part in key else "absent"

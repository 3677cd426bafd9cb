"""Sets torch's allocator to expandable segments, so that GPU memory fragments little.

A cache of keys and values is a little longer at each token, and a block of fixed size never fits
the next one: without growing segments an evaluation with 5 GiB of tensors reserves most of a
large GPU. torch is not imported here, because the driver sets what its workers start with.
"""

from collections.abc import Mapping

__all__ = ["allocator_environment"]

NAMES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The first that is set is what torch 2.13 reads."""
KEY = "expandable_segments"
GROWING = f"{KEY}:True"


def allocator_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add to ``environment`` for expandable segments.

    The user's settings of the allocator are extended; their own choice about segments is kept.
    """
    name = next((name for name in NAMES if name in environment), NAMES[0])
    given = environment.get(name, "")
    if KEY in given:
        return {}
    return {name: f"{given},{GROWING}" if given else GROWING}

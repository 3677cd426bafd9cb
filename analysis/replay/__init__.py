"""What other reward weights would have made of recorded completions, without training.

``matrices`` reads what trials left behind, ``measures`` is arithmetic over arrays, ``wording``
says what came of it.
"""

from analysis.replay.matrices import SweepMatrices, read_matrices
from analysis.replay.measures import component_phases, component_steps, replay
from analysis.replay.wording import (
    component_rows,
    constant_sentences,
    count_sentences,
    how_to_read,
    replay_document,
    vector_rows,
    vector_sentences,
)

__all__ = [
    "SweepMatrices",
    "component_phases",
    "component_rows",
    "component_steps",
    "constant_sentences",
    "count_sentences",
    "how_to_read",
    "read_matrices",
    "replay",
    "replay_document",
    "vector_rows",
    "vector_sentences",
]

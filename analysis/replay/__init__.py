"""Replays other reward weights on recorded completions, without training."""

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

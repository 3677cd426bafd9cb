"""What other reward weights would have made of recorded completions, without training.

``matrices`` reads what trials left behind; everything else is arithmetic over arrays.
"""

from analysis.replay.advantages import SCHEMES, Scheme
from analysis.replay.document import replay_document
from analysis.replay.matrices import SweepMatrices, read_matrices
from analysis.replay.rows import num_chunks, replay, replay_chunks
from analysis.replay.saturation import component_phases, component_steps
from analysis.replay.simplex import Vectors, given_vectors, sampled_vectors
from analysis.replay.truth import replay_agreement, truth_sentences
from analysis.replay.wording import (
    component_rows,
    constant_sentences,
    count_sentences,
    farthest_sentence,
    how_to_read,
    sample_rows,
    vector_rows,
    vector_sentences,
)

__all__ = [
    "SCHEMES",
    "Scheme",
    "SweepMatrices",
    "Vectors",
    "component_phases",
    "component_rows",
    "component_steps",
    "constant_sentences",
    "count_sentences",
    "farthest_sentence",
    "given_vectors",
    "how_to_read",
    "num_chunks",
    "read_matrices",
    "replay",
    "replay_agreement",
    "replay_chunks",
    "replay_document",
    "sample_rows",
    "sampled_vectors",
    "truth_sentences",
    "vector_rows",
    "vector_sentences",
]

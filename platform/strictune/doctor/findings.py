"""What a check says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Finding", "Place", "Status", "broken", "ok", "warning"]

Status = Literal["ok", "warning", "broken"]


class Place(NamedTuple):
    """Where a sweep would run."""

    out: Path
    """Where its results would go; need not exist."""
    environ: Mapping[str, str]
    """The environment variables."""

    @property
    def existing(self) -> Path:
        """The folder that ``out`` is in, or would be made in."""
        out = self.out.absolute()
        return next(path for path in (out, *out.parents) if path.is_dir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that works, or does not."""

    name: str
    status: Status
    found: str
    cure: str | None
    """What to do; None where nothing is to be done."""


def ok(name: str, found: str) -> Finding:
    """Say that something works."""
    return Finding(name=name, status="ok", found=found, cure=None)


def warning(name: str, found: str, *, cure: str) -> Finding:
    """Say that something is not as it should be, which not every sweep minds."""
    return Finding(name=name, status="warning", found=found, cure=cure)


def broken(name: str, found: str, *, cure: str) -> Finding:
    """Say that something does not work that sweeps need."""
    return Finding(name=name, status="broken", found=found, cure=cure)

"""The cost cache: what trials of each shape have taken so far, kept from sweep to sweep.

One JSON file for each shape and device in the user's cache directory. It holds the probe's
result and the costs of the last trials, for the plan of the next sweep. A file that cannot be read
counts as empty and is replaced; what cannot be written is kept in memory while the cache is open.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from strictune.cache import cache_folder
from strictune.config import TrialSpec
from strictune.packing import Peak
from strictune.records import write_json
from trainables.memory.measured import Probe, TrialCost, shape_digest, shape_of

__all__ = ["CostCache", "KnownCosts"]

logger = logging.getLogger(__name__)

MAX_TRIALS = 50
"""Trials kept for a shape, the latest ones."""

HEAP_GROWTH = 1.6
"""Main memory of a whole trial in terms of the probe's two steps. Steps of varying lengths
leave holes in the C library's heap that it does not return: a trial on builtin:tiny grew to
3.61 GiB in 30 steps, where the probe at its longest lengths took 2.26."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCosts:
    """Measured costs of one shape on one kind of device."""

    probe: Probe | None = None
    trials: Mapping[str, TrialCost] = field(default_factory=dict)
    """By trial id, oldest first."""

    @property
    def measured(self) -> Peak | None:
        """The largest measurement, or None before the first."""
        return _largest([*self.trials.values(), *([self.probe] if self.probe else [])])

    @property
    def peak(self) -> Peak | None:
        """Expected peak of a whole trial; after a probe alone, its process is expected to grow."""
        measured = self.measured
        if measured is None or self.trials or measured.memory_gib is None:
            return measured
        return replace(measured, memory_gib=measured.memory_gib * HEAP_GROWTH)


class CostCache:
    """Reads and writes measured costs."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the cache in ``folder``, by default in the user's cache directory."""
        self._folder = folder or cache_folder() / "costs"
        self._unwritten: dict[Path, KnownCosts] = {}

    def read(self, spec: TrialSpec, *, device: str) -> KnownCosts:
        """Return what is known of trials of this shape on ``device``."""
        return self._known(self._path(spec, device))

    def add_probe(self, spec: TrialSpec, probe: Probe) -> None:
        """Write down what the probe measured, in place of an earlier probe."""
        self._update(spec, probe.device, KnownCosts(probe=probe))

    def add_trial(self, spec: TrialSpec, cost: TrialCost) -> None:
        """Write down what a finished trial took; a second time changes nothing."""
        self._update(spec, cost.device, KnownCosts(trials={spec.trial_id: cost}))

    def _path(self, spec: TrialSpec, device: str) -> Path:
        slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
        return self._folder / f"{shape_digest(spec)}-{slug}.json"

    def _known(self, path: Path) -> KnownCosts:
        return _merged(_parse(path), self._unwritten.get(path, KnownCosts()))

    def _update(self, spec: TrialSpec, device: str, news: KnownCosts) -> None:
        path = self._path(spec, device)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                costs = _merged(self._known(path), news)
                write_json(path, {"shape": shape_of(spec), "device": device, **asdict(costs)})
        except OSError as error:
            logger.warning("measured costs cannot be kept for later sweeps (%s)", error)
            self._unwritten[path] = _merged(self._unwritten.get(path, KnownCosts()), news)
        else:
            self._unwritten.pop(path, None)


def _merged(known: KnownCosts, news: KnownCosts) -> KnownCosts:
    trials = {**known.trials, **news.trials}
    return KnownCosts(
        probe=news.probe or known.probe, trials=dict(list(trials.items())[-MAX_TRIALS:])
    )


def _largest(sources: Sequence[Probe | TrialCost]) -> Peak | None:
    gpu_gib = [source.gpu_gib for source in sources if source.gpu_gib is not None]
    memory_gib = [source.memory_gib for source in sources if source.memory_gib is not None]
    if not gpu_gib and not memory_gib:
        return None
    return Peak(
        gpu_gib=max(gpu_gib, default=None),
        gpu_failed_gib=next((s.gpu_failed_gib for s in sources if isinstance(s, Probe)), None),
        memory_gib=max(memory_gib, default=None),
    )


def _parse(path: Path) -> KnownCosts:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        probe = document["probe"]
        return KnownCosts(
            probe=Probe(**probe) if probe else None,
            trials={name: TrialCost(**cost) for name, cost in document["trials"].items()},
        )
    except FileNotFoundError:
        return KnownCosts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("measured costs in %s cannot be read (%s) and are not used", path, error)
        return KnownCosts()

"""Turns the entries of an outside source into prompts; drops and counts what cannot be scored.

Sources yield candidates in a fixed order and do not validate them; here each schema is compiled as
for scoring.
"""

import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from strictune.errors import SpecError
from trainables.tasks.strict_json.measure import constructs_of, difficulty_of
from trainables.tasks.strict_json.skeleton import family_of
from trainables.tasks.strict_json.validation import refusal
from trainables.tasks.task import OutsideSuite, Prompt

__all__ = ["Candidate", "Dropped", "collect", "package_folder"]


class Candidate(NamedTuple):
    """One schema and the request that goes with it."""

    id: str
    request: str
    """The prompt's text; the schema is appended to it."""
    schema: object


class Dropped(NamedTuple):
    """An entry of a source that cannot become a candidate."""

    reason: str


def collect(found: Iterable[Candidate | Dropped]) -> OutsideSuite:
    """Make prompts of the candidates that can be scored, in order, and count the others.

    Difficulty, constructs and family are measured on the schema.
    """
    prompts: list[Prompt] = []
    dropped: Counter[str] = Counter()
    for entry in found:
        made = _prompt(entry) if isinstance(entry, Candidate) else entry
        if isinstance(made, Dropped):
            dropped[made.reason] += 1
        else:
            prompts.append(made)
    return OutsideSuite(tuple(prompts), dropped)


def package_folder(package: str, *, suite: str, install: str) -> Path:
    """Return the folder of a package, without importing it.

    Args:
        package: The package's import name.
        suite: The suite that needs it, for the message.
        install: The command that installs it, e.g. ``pip install 'strictune[suites]'``.

    Raises:
        SpecError: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SpecError(
            f"suite {suite}: the package {package} is not installed. Install it with "
            f"`{install}`, or name another suite."
        )
    return Path(spec.submodule_search_locations[0])


def _prompt(candidate: Candidate) -> Prompt | Dropped:
    reason = refusal(candidate.schema)
    if reason is not None:
        return Dropped(reason)
    schema = cast(Mapping[str, Any] | bool, candidate.schema)
    try:
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        request = f"{candidate.request}\n\n{text}"
        request.encode()
        return Prompt(
            id=candidate.id,
            text=request,
            family=family_of(schema),
            difficulty=difficulty_of(schema),
            constructs=constructs_of(schema),
            columns={"schema": text},
        )
    except RecursionError:
        return Dropped("schema nested too deeply")
    except UnicodeEncodeError:
        return Dropped("text with half of a surrogate pair")

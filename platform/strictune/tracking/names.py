"""What the tracking store accepts as names and values, and the names that we use there.

| tag | on | says |
|---|---|---|
| ``strictune.kind`` | all | ``sweep``, ``trial``, ``baseline`` or ``control`` |
| ``strictune.sweep`` | all | the sweep's name |
| ``strictune.sweep_id`` | all | tells two sweeps of one name apart |
| ``strictune.folder`` | all | host and folder of the records |
| ``strictune.trial`` | trial | the trial's id |
| ``strictune.cell`` and the cell's parts ``task``, ``model``, ``thinking``, ``curriculum``, \
``method``, ``variant``, ``seed`` | trial | as in the plan |
| ``strictune.baseline`` | trial, baseline | the baseline key's digest |
| ``strictune.control`` | control | the digest of its key: a baseline's, and the grammar |
| ``strictune.reason`` | all but sweep | why it failed or was stopped |
| ``strictune.verdict`` | trial | the adapter verdict |
| ``strictune.num_trials`` and ``_finished``, ``_failed``, ``_killed`` | sweep | counts |
| ``strictune.mirrored``, ``strictune.uploaded``, ``strictune.compared`` | all | how far the \
mirror is: metrics, artifacts, ``delta.json`` |
| ``strictune.logged_model`` | trial | the id of its adapter as a logged model |
"""

import json
import re
from collections.abc import Mapping
from typing import Final, Literal

RunKind = Literal["sweep", "trial", "baseline", "control"]
RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

MAX_KEY_CHARS: Final = 250
MAX_PARAM_CHARS: Final = 6000
MAX_TAG_CHARS: Final = 8000

_REFUSED_IN_KEYS = re.compile(r"[^\w\-. :/]", re.ASCII)
_CUT_SIGN = " [...]"


def tag(name: str) -> str:
    """Return the tag's full key."""
    return f"strictune.{name}"


KIND: Final = tag("kind")
SWEEP: Final = tag("sweep")
SWEEP_ID: Final = tag("sweep_id")
FOLDER: Final = tag("folder")
TRIAL: Final = tag("trial")
BASELINE: Final = tag("baseline")
ID_TAGS: Final[Mapping[RunKind, str]] = {
    "sweep": SWEEP,
    "trial": TRIAL,
    "baseline": BASELINE,
    "control": tag("control"),
}
"""By kind, the tag that tells a run from the others of its sweep."""
REASON: Final = tag("reason")
VERDICT: Final = tag("verdict")
MIRRORED: Final = tag("mirrored")
UPLOADED: Final = tag("uploaded")
COMPARED: Final = tag("compared")
LOGGED_MODEL: Final = tag("logged_model")
NOTE: Final = "mlflow.note.content"
"""What MLflow's pages show as the run's description."""
PARENT_RUN: Final = "mlflow.parentRunId"


def experiment_name(task: str) -> str:
    """Return the experiment that holds every sweep of a task."""
    return f"strictune/{task}"


def metric_key(key: str) -> str:
    """Return the key with characters that MLflow refuses (``pass@1``) as underscores."""
    return _REFUSED_IN_KEYS.sub("_", key)[:MAX_KEY_CHARS]


def cut(text: str, *, limit: int = MAX_TAG_CHARS) -> str:
    """Return the text, shortened with a sign of it when the store would refuse its length."""
    return text if len(text) <= limit else text[: limit - len(_CUT_SIGN)] + _CUT_SIGN


def cut_table(markdown: str, *, source: str) -> str:
    """Return as many whole lines as the store takes in a tag, and where the rest is."""
    if len(markdown) <= MAX_TAG_CHARS:
        return markdown
    hint = f"\n\nThe rest is in the artifact `{source}`."
    return markdown[: MAX_TAG_CHARS - len(hint)].rpartition("\n")[0] + hint


def flat_params(spec: Mapping[str, object]) -> dict[str, str]:
    """Flatten a resolved spec into dotted params: ``{"grpo": {"beta": 0.04}}`` -> ``grpo.beta``.

    Lists and empty mappings become JSON; text stays as it is; the rest reads as in YAML
    (``true``, ``null``).
    """
    return {metric_key(key): cut(value, limit=MAX_PARAM_CHARS) for key, value in _leaves(spec, "")}


def _leaves(node: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            found += _leaves(value, f"{key}.")
        elif isinstance(value, str):
            found.append((key, value))
        else:
            found.append((key, json.dumps(value, default=str)))
    return found

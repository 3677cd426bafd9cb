"""The address of the page on which MLflow shows a sweep's runs side by side.

MLflow can open a list of runs as somebody has set it up: the button Share keeps filter, order and
columns in a tag of the experiment. Here a sweep's view is kept the same way: all of its runs,
unfolded, sorted by what they gained.
"""

import json
from urllib.parse import urlsplit

from strictune.tracking import names
from strictune.tracking.identity import SweepIdentity

__all__ = ["experiment_tags", "runs_page"]

LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where ``make ui`` serves a store that has no server of its own."""

RUN_NAME = "attributes.`Run Name`"


def experiment_tags(sweep_id: str, primary_criterion: str) -> dict[str, str]:
    """Return the tags of an experiment that holds a sweep: its kind, and the sweep's view."""
    delta = f"delta/{primary_criterion}/pass_at_1_pp"
    metrics = (
        *(f"{delta}{end}" for end in ("", "_lo", "_hi")),
        f"final/{primary_criterion}/pass_at_1",
        "final/think_rate",
        "final/completion_tokens/mean",
    )
    is_ours = f"tags.`{names.SWEEP_ID}` = '{sweep_id}'"
    columns = [
        f"tags.`{names.VERDICT}`",
        *(f"metrics.`{names.metric_key(metric)}`" for metric in metrics),
    ]
    view = {
        "searchFilter": f"{is_ours} and tags.`{names.KIND}` != 'sweep'",
        "orderByKey": f"metrics.`{delta}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": ["0", RUN_NAME, *columns],
        "columnWidths": {RUN_NAME: 270} | dict.fromkeys(columns, 130),
    }
    # MLflow 3.17 goes by the side of its pages that the browser was on last, at first GenAI; other
    # versions by the experiment's kind.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return kind | {f"mlflow.sharedViewState.{sweep_id}": json.dumps(view)}


def runs_page(identity: SweepIdentity | None, tracking_uri: str) -> str | None:
    """Return the address of a sweep's runs; None where the store has no pages that we know."""
    if identity is None or identity.experiment_id is None:
        return None
    address = urlsplit(tracking_uri)
    if address.scheme in ("http", "https"):
        # Without a user's name and password: browsers ask for them.
        base = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
    elif tracking_uri.startswith("databricks"):
        return None
    else:
        base = LOCAL_PAGES
    place = f"#/experiments/{identity.experiment_id}/runs"
    return f"{base}/{place}?workflowType=machine_learning&viewStateShareKey={identity.sweep_id}"

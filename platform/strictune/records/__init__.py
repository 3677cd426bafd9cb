"""The folder that a sweep leaves: every file in it is read and written here.

``files`` writes atomically and reads JSON as models; ``sweep`` has the models of the plan, the
costs and the studies, ``run`` those of a run's lock, progress and outcome; ``metrics`` follows
``metrics.jsonl``; ``tables`` reads samples and rewards. Unknown further keys are ignored; a file
that cannot be understood is a ``StorageError`` with its path and key. Specs (``sweep.yaml``,
``trial.yaml``) belong to ``strictune.config``.
"""

from strictune.records.files import replacing, write_json, write_text
from strictune.records.metrics import (
    METRICS,
    Logged,
    MetricsTail,
    parse_line,
    read_lines,
    read_metrics,
)
from strictune.records.run import (
    KeyValue,
    Lock,
    Outcome,
    OutcomeState,
    Progress,
    read_lock,
    read_outcome,
    read_progress,
    write_outcome,
    write_progress,
)
from strictune.records.sweep import (
    BASELINES,
    CONTROLS,
    COSTS,
    PLAN,
    STUDIES,
    TRIALS,
    Costs,
    Objective,
    Plan,
    PlannedCell,
    PlannedCosts,
    PlannedStage,
    PlannedTrial,
    Point,
    PointState,
    Study,
    read_costs,
    read_plan,
    read_studies,
)
from strictune.records.tables import (
    REWARDS,
    part_path,
    read_reward_parts,
    read_samples,
    reward_parts,
)

__all__ = [
    "BASELINES",
    "CONTROLS",
    "COSTS",
    "METRICS",
    "PLAN",
    "REWARDS",
    "STUDIES",
    "TRIALS",
    "Costs",
    "KeyValue",
    "Lock",
    "Logged",
    "MetricsTail",
    "Objective",
    "Outcome",
    "OutcomeState",
    "Plan",
    "PlannedCell",
    "PlannedCosts",
    "PlannedStage",
    "PlannedTrial",
    "Point",
    "PointState",
    "Progress",
    "Study",
    "parse_line",
    "part_path",
    "read_costs",
    "read_lines",
    "read_lock",
    "read_metrics",
    "read_outcome",
    "read_plan",
    "read_progress",
    "read_reward_parts",
    "read_samples",
    "read_studies",
    "replacing",
    "reward_parts",
    "write_json",
    "write_outcome",
    "write_progress",
    "write_text",
]

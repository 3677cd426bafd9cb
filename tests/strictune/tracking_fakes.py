"""A sweep folder as trials leave it, and questions to a real store."""

import functools
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from strictune.tracking.store import TrackingStore

SPEC = {
    "task": {"kind": "strict_json", "data_seed": 0},
    "model": "builtin:tiny",
    "thinking": True,
    "curriculum": "three_stage",
    "grpo": {"max_steps": 40, "learning_rate": 1e-5},
    "rewards_no_think": None,
    "seed": 1,
}


@functools.cache
def empty_store() -> bytes:
    """A SQLite store without runs: creating its tables takes longer than any test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        TrackingStore.open(f"sqlite:///{path}", out_dir=path.parent)
        return path.read_bytes()


class FakeTrial:
    """One trial's, baseline's or control's folder, written the way a trial writes it."""

    def __init__(self, path: Path, *, spec: Mapping[str, Any] = SPEC) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        (path / "trial.yaml").write_text(yaml.safe_dump(dict(spec)))
        self.lock(evaluation_key={"split": "test"})

    def lock(self, **facts: Any) -> None:
        shared = {"git_sha": "c0ffee", "baseline_key": {}, "baseline": "b" * 16, "seed": 1}
        self.write("lock.json", {**shared, **facts})

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        draft = self.path / f"{name}.new"
        draft.write_text(json.dumps(content))
        draft.replace(self.path / name)

    def log(self, steps: Iterable[int], *, attempt: int = 0, num_keys: int = 2) -> None:
        """Append one line a step; another attempt has other times and values."""
        with (self.path / "metrics.jsonl").open("a") as lines:
            for step in steps:
                metrics = {f"train/key{key}": float(step + attempt / 10) for key in range(num_keys)}
                line = {"step": step, "time": 1e9 + 1000 * attempt + step, "metrics": metrics}
                lines.write(json.dumps(line) + "\n")

    def checkpoint(self, step: int) -> None:
        size = (self.path / "metrics.jsonl").stat().st_size
        self.write("progress.json", {"step": step, "metrics_bytes": size, "state": "RUNNING"})

    def roll_back(self) -> None:
        """Drop what lies beyond the last checkpoint, as a resumed trial does."""
        progress = json.loads((self.path / "progress.json").read_text())
        with (self.path / "metrics.jsonl").open("r+b") as lines:
            lines.truncate(progress["metrics_bytes"])
        (self.path / "outcome.json").unlink(missing_ok=True)

    def end(self, state: str = "FINISHED", *, steps: int = 4, reason: str | None = None) -> None:
        for name in (
            "adapter/final/adapter_config.json",
            "eval/test/summary.json",
            "eval/test/samples.parquet",
        ):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text("{}")
        (self.path / "checkpoints").mkdir(exist_ok=True)
        (self.path / "checkpoints" / "optimizer.pt").write_text("not for the store")
        outcome = {"state": state, "reason": reason, "steps": steps, "seconds": 9.0}
        self.write("outcome.json", {**outcome, "started": 1e9, "ended": 1e9 + 9})


class FakeSweep:
    """A sweep folder below ``root``."""

    def __init__(self, root: Path, *, trial_ids: Iterable[str] = ("t1", "t2")) -> None:
        self.path = root / "runs" / "sweep"
        self.path.mkdir(parents=True, exist_ok=True)
        self.uri = f"sqlite:///{root / 'runs' / 'mlflow.db'}"
        if not (root / "runs" / "mlflow.db").exists():
            (root / "runs" / "mlflow.db").write_bytes(empty_store())
        (self.path / "sweep.yaml").write_text("name: sweep\n")
        trials = [
            {
                "trial_id": trial_id,
                "name": f"tiny · think · three-stage · {trial_id}",
                "cell": "tiny · think · three-stage",
                "model": "builtin:tiny",
                "thinking": True,
                "curriculum": "three_stage",
                "seed": 1,
            }
            for trial_id in trial_ids
        ]
        criteria = {"primary_criterion": "strict", "criteria": ["strict"]}
        plan = {"sweep": "sweep", "task": "strict_json", **criteria, "trials": trials}
        (self.path / "plan.json").write_text(json.dumps(plan))

    def trial(self, trial_id: str = "t1") -> FakeTrial:
        return FakeTrial(self.path / "trials" / trial_id)

    def baseline(self) -> FakeTrial:
        return FakeTrial(self.path / "baselines" / ("b" * 16))

    def control(self) -> FakeTrial:
        return FakeTrial(self.path / "controls" / ("c" * 16))


class StoredRuns:
    """What a store says, asked through MLflow's own client."""

    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)

    def all(self) -> list[Any]:
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        return list(self.client.search_runs(experiments))

    def one(self, kind: str, trial_id: str | None = None) -> Any:
        (run,) = [
            run
            for run in self.all()
            if run.data.tags["strictune.kind"] == kind
            and trial_id in (None, run.data.tags.get("strictune.trial"))
        ]
        return run

    def points(self, run: Any, key: str = "train/key0") -> list[tuple[int, float]]:
        history = self.client.get_metric_history(run.info.run_id, key)
        return sorted((point.step, point.value) for point in history)

    def files(self, run: Any) -> set[str]:
        pending, found = [""], set()
        while pending:
            for file in self.client.list_artifacts(run.info.run_id, pending.pop() or None):
                (pending.append if file.is_dir else found.add)(file.path)
        return found

"""What a sweep file may say of the refiner, and what it is told when it is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from strictune.cli import main
from strictune.config import expand, load_sweep
from strictune.errors import SpecError
from trainables.tasks.refiner.settings import RefinerSettings

ROOT = Path(__file__).resolve().parents[3]
SWEEP = """
name: small
task:
  kind: refiner
  judge: {kind: openai, base_url: "http://judge:8000/v1", model: judge-4b}
trial:
  model: builtin:tiny
  grpo: {max_steps: 4, per_device_train_batch_size: 8}
"""


def problem_of(tmp_path: Path, *overrides: str) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP)
    with pytest.raises(SpecError) as error:
        load_sweep(path, overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("task.judge.kind=gpt", "expected one of lexical, openai.", id="judge"),
        pytest.param("task.judge.modle=x", "Did you mean", id="misspelt"),
        pytest.param(
            "task.judge.base_url=judge:8000", "task.judge.base_url = judge:8000", id="url"
        ),
        pytest.param(
            "task.judge.base_url=http://me:pw@judge/v1", "STRICTUNE_JUDGE_API_KEY", id="secret"
        ),
        pytest.param(
            "task.judge.base_url=http://me:p#w@judge/v1",
            "a user, a password",
            id="secret-with-hash",
        ),
        pytest.param("task.judge.max_failure_frac=2", "from 0 to 1", id="share"),
        pytest.param(
            "task.reward.scale=0", "task.reward.scale = 0, expected a number above 0", id="scale"
        ),
        pytest.param(
            "task.reward.non_stop_penalty=1", "non_stop_penalty = 1", id="penalty-that-pays"
        ),
        pytest.param("task.train=rows.jsonl", "not for validation and test", id="one-split"),
        pytest.param("trial.rewards={rubrics: 1}", "expected one of composite", id="component"),
        pytest.param("trial.curriculum=three_stage", "expected one of standard", id="curriculum"),
    ],
)
def test_a_mistake_is_answered_with_key_value_and_what_is_allowed(
    tmp_path: Path, override: str, message: str
) -> None:
    assert message in problem_of(tmp_path, override)


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP.replace("http://judge", "http://me:hunter2@judge"))
    with pytest.raises(SpecError) as error:
        load_sweep(path)
    assert "hunter2" not in str(error.value)


def test_a_trial_of_this_task_keeps_its_settings_and_its_name(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP)
    [trial] = expand(load_sweep(path))
    assert trial.weights == {"composite": 1.0}
    assert trial.task.judge.model == "judge-4b"
    [other] = expand(load_sweep(path, ["task.reward.scale=1"]))
    assert other.trial_id != trial.trial_id


def settings_with(**changes: object) -> RefinerSettings:
    judge = {"kind": "openai", "base_url": "http://judge:8000/v1", "model": "judge-4b"}
    return RefinerSettings.model_validate({"kind": "refiner", "judge": judge, **changes})


def judge_with(**changes: object) -> dict[str, object]:
    return {"judge": settings_with().judge.model_dump() | changes}


@pytest.mark.parametrize(
    ("changes", "is_other_trial", "is_other_measure"),
    [
        pytest.param({"reward": {"citation_weight": 1}}, True, False, id="reward"),
        pytest.param({"num_train_rows": 7}, True, False, id="training-rows"),
        pytest.param({"data_seed": 7}, True, True, id="made-up-rows"),
        pytest.param({"pass_citation_f1": 0.5}, True, True, id="pass-mark"),
        pytest.param(judge_with(model="other"), True, True, id="judge"),
        pytest.param(judge_with(structured_output="none"), True, True, id="forced-json-or-prose"),
        pytest.param({"holdout_judge": {"kind": "lexical"}}, True, True, id="holdout-judge"),
        pytest.param(judge_with(base_url="http://b:1/v1"), False, False, id="where-it-runs"),
        pytest.param(judge_with(max_concurrent_calls=1), False, False, id="how-hard-it-is-asked"),
        pytest.param(judge_with(max_retries=0, call_timeout_s=1), False, False, id="patience"),
    ],
)
def test_settings_know_what_changes_a_result_and_what_changes_its_measure(
    changes: dict[str, object], is_other_trial: bool, is_other_measure: bool
) -> None:
    plain, changed = settings_with(), settings_with(**changes)
    assert (plain.identity() != changed.identity()) == is_other_trial
    assert (plain.measure() != changed.measure()) == is_other_measure


def test_rows_of_files_are_measured_by_their_files() -> None:
    files = {"train": "a", "validation": "b", "test": "c"}
    measure = settings_with(**files).measure()
    assert settings_with(**files, data_seed=3, num_eval_rows=5).measure() == measure
    assert settings_with(**files | {"train": "z"}).measure() == measure
    assert settings_with(**files | {"test": "z"}).measure() != measure


def test_a_sweeps_budget_is_shared_by_the_trials_that_run_at_once() -> None:
    budget = judge_with(max_concurrent_calls=100, requests_per_minute=90.0)
    settings = settings_with(**budget, holdout_judge={"kind": "lexical"})
    assert settings.limits() == {
        "judge.max_concurrent_calls": 100,
        "judge.requests_per_minute": 90.0,
    }
    share = settings.shared_by(3)
    assert share.limits() == {"judge.max_concurrent_calls": 33, "judge.requests_per_minute": 30.0}
    assert share.identity() == settings.identity()
    assert settings.shared_by(1) == settings
    assert settings.shared_by(1000).limits()["judge.max_concurrent_calls"] == 1
    offline = RefinerSettings(kind="refiner")
    assert (offline.limits(), offline.shared_by(8)) == ({}, offline)


def test_the_plan_and_the_schema_know_the_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP)
    assert main(["plan", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "refiner"
    assert main(["schema"]) == 0
    assert "holdout_judge" in capsys.readouterr().out


def test_the_task_needs_neither_torch_nor_an_http_client_for_the_offline_judge() -> None:
    code = (
        "import sys\n"
        "from trainables.tasks import load_task\n"
        "from trainables.tasks.refiner.settings import RefinerSettings\n"
        "load_task(RefinerSettings(kind='refiner')).scorer_hash()\n"
        "heavy = {'torch', 'transformers', 'datasets', 'aiohttp', 'ray', 'mlflow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": ".:platform"}, check=True
    )


def test_nothing_in_the_platform_knows_the_task() -> None:
    own = {"trainables/tasks/refiner", "trainables/tiny/citing"}
    knowing = [
        str(path.relative_to(ROOT))
        for folder in ("platform", "trainables", "analysis")
        for path in (ROOT / folder).rglob("*.py")
        if "refiner" in path.read_text(encoding="utf-8").lower()
    ]
    assert [path for path in knowing if not any(path.startswith(name) for name in own)] == []


def test_the_preset_is_the_published_setup_as_far_as_one_adapter_goes() -> None:
    [trial] = expand(load_sweep(ROOT / "search_spaces" / "refiner.yaml"))
    grpo, task = trial.grpo, trial.task
    assert (trial.prompts_per_step, grpo.num_generations) == (32, 8)
    assert (grpo.temperature, grpo.learning_rate, grpo.lr_scheduler_type) == (1.0, 5e-6, "constant")
    assert (grpo.beta, trial.seed) == (0.001, 42)
    assert (task.max_prompt_tokens, trial.max_completion_tokens) == (6144, 1024)
    assert (task.reward.scale, task.reward.citation_weight) == (10, 0.2)
    assert type(grpo).model_fields.keys() - grpo.model_fields_set == {"logging_steps"}


def test_the_ablation_changes_what_is_paid_and_not_what_is_measured() -> None:
    trials = expand(load_sweep(ROOT / "search_spaces" / "refiner_ablation.yaml"))
    by_variant = {str(trial.variant): trial.task for trial in trials}
    assert len(trials) == 3 * len(by_variant)
    [measure] = {json.dumps(task.measure()) for task in by_variant.values()}
    assert len({json.dumps(task.identity()) for task in by_variant.values()}) == len(by_variant)
    judges = {task.judge.model for task in by_variant.values()}
    assert len(judges) == 2 and json.loads(measure)["holdout_judge"]["model"] not in judges
    weights = [by_variant[name].reward.citation_weight for name in ("no_citations", "default")]
    assert weights == [0, 0.2]
    assert by_variant["no_static_rubrics"].reward.instance_rubrics_only

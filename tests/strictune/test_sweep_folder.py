"""What a sweep's folder accepts when it is opened again."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from quickstart import CROSSED, QUICKSTART

from strictune.cli import main
from strictune.config import SweepSpec, expand, load_sweep, resolve_point
from strictune.errors import SpecError, StorageError
from strictune.launch.changes import check_scorer
from strictune.launch.driver import driving, locked
from strictune.launch.folder import (
    JOB_VARIABLE,
    OpenedFolder,
    SweepFolder,
    open_sweep_folder,
    refuse_temporary_folder,
    reopen_trials,
    write_plan,
    write_trial,
)
from strictune.records import write_json
from trainables.records import record_failure
from trainables.tasks import load_task

ROOT = Path(__file__).resolve().parents[2]


def sweep(*overrides: str) -> SweepSpec:
    return load_sweep(QUICKSTART, [*CROSSED, *overrides])


def opened(path: Path, *overrides: str, is_resuming: bool = True) -> OpenedFolder:
    spec = sweep(*overrides)
    return open_sweep_folder(path, spec, expand(spec), is_resuming=is_resuming)


def begin(path: Path, *, num_ended: int = 0) -> None:
    """Open a sweep and leave what trials leave that have begun, and some that have ended."""
    folder = opened(path).folder
    for index, trial in enumerate(expand(sweep())):
        (folder.trial(trial.trial_id) / "metrics.jsonl").touch()
        if index < num_ended:
            write_json(folder.trial(trial.trial_id) / "outcome.json", {"state": "FINISHED"})


def test_seeds_and_resources_may_change_and_are_told(tmp_path: Path) -> None:
    begin(tmp_path / "q", num_ended=1)
    changes = opened(tmp_path / "q", "matrix.seed=[0, 1]", "resources.cpus_per_trial=2").changes
    assert [str(change) for change in changes] == [
        "matrix.seed ([0] -> [0, 1])",
        "resources.cpus_per_trial (1.0 -> 2.0)",
    ]
    assert len(list((tmp_path / "q" / "trials").iterdir())) == 8


def test_a_changed_setting_of_begun_trials_is_refused_and_named(tmp_path: Path) -> None:
    begin(tmp_path / "q")
    plan = (tmp_path / "q" / "plan.json").read_bytes()
    with pytest.raises(StorageError) as refused:
        opened(tmp_path / "q", "trial.grpo.learning_rate=0.001")
    assert "4 trials have begun under other settings" in str(refused.value)
    assert "trial.grpo.learning_rate (0.002 -> 0.001)" in str(refused.value)
    assert (tmp_path / "q" / "plan.json").read_bytes() == plan


def test_a_changed_variant_of_begun_trials_is_refused_and_named(tmp_path: Path) -> None:
    def variants(beta: float) -> tuple[str, str]:
        return f"matrix={{variant: {{low: {{grpo.beta: {beta}}}, none: {{}}}}}}", "contrasts=[]"

    folder = opened(tmp_path / "q", *variants(0.1)).folder
    for trial in expand(sweep(*variants(0.1))):
        (folder.trial(trial.trial_id) / "metrics.jsonl").touch()
    with pytest.raises(StorageError) as refused:
        opened(tmp_path / "q", *variants(0.2))
    assert "1 trials have begun under other settings" in str(refused.value)
    assert "has now: matrix.variant.low.grpo.beta (0.1 -> 0.2)." in str(refused.value)


def test_a_method_may_be_added_to_a_begun_sweep(tmp_path: Path) -> None:
    begin(tmp_path / "q", num_ended=1)
    both = "matrix.method=[sft, grpo]"
    changes = opened(tmp_path / "q", both).changes
    assert [str(change) for change in changes] == ["matrix.method (null -> ['sft', 'grpo'])"]
    folder = opened(tmp_path / "q", both, "trial.sft.learning_rate=0.001").folder
    assert len(list((folder.path / "trials").iterdir())) == 12


def test_a_setting_may_change_while_nothing_has_begun(tmp_path: Path) -> None:
    opened(tmp_path / "q")
    changes = opened(tmp_path / "q", "trial.grpo.learning_rate=0.001").changes
    assert [change.key for change in changes] == ["trial.grpo.learning_rate"]


@pytest.mark.parametrize("num_ended", [0, 1])
def test_contrasts_are_fixed_once_a_result_is_there(tmp_path: Path, num_ended: int) -> None:
    begin(tmp_path / "q", num_ended=num_ended)
    if num_ended:
        with pytest.raises(StorageError, match="Contrasts are declared before a sweep starts"):
            opened(tmp_path / "q", "contrasts=[thinking]")
    else:
        assert opened(tmp_path / "q", "contrasts=[thinking]").changes


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow; pytest itself writes one where its output goes to one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_leaves_a_resumed_sweep_as_it_was(tmp_path: Path) -> None:
    folder = opened(tmp_path / "q").folder
    specs = [folder.path / "sweep.yaml", *folder.path.glob("trials/*/trial.yaml")]
    before = [path.read_bytes() for path in specs]
    with pytest.raises(OSError, match="File too large"), full_disk():
        opened(tmp_path / "q", "resources.cpus_per_trial=2")
    [unchanged, *_], [changed, *_] = expand(sweep()), expand(sweep("trial.checkpoint.save_steps=7"))
    with full_disk():
        write_trial(folder, unchanged)
    with pytest.raises(OSError, match="File too large"), full_disk():
        write_trial(folder, changed)
    assert [path.read_bytes() for path in specs] == before


def test_a_cell_that_left_the_file_stays_on_disk(tmp_path: Path) -> None:
    begin(tmp_path / "q")
    opened(tmp_path / "q", "matrix.thinking=[false]", "contrasts=[curriculum]")
    assert len(list((tmp_path / "q" / "trials").iterdir())) == 4


def test_only_trials_that_did_not_finish_are_reopened(tmp_path: Path) -> None:
    begin(tmp_path / "q", num_ended=3)
    folder, trials = opened(tmp_path / "q").folder, expand(sweep())
    record_failure(folder.trial(trials[3].trial_id), "it broke")
    (folder.trial(trials[3].trial_id) / "stop").touch()
    assert reopen_trials(folder, sweep(), trials) == 1
    assert folder.outcome(trials[3].trial_id) is None
    assert not (folder.trial(trials[3].trial_id) / "stop").exists()
    assert all(folder.outcome(trial.trial_id) for trial in trials[:3])


def test_of_a_search_the_trials_that_confirm_its_winners_are_reopened(tmp_path: Path) -> None:
    spec = load_sweep(ROOT / "search_spaces" / "reward_weights_quickstart.yaml")
    cells = expand(spec)
    folder = open_sweep_folder(tmp_path / "s", spec, cells, is_resuming=False).folder
    confirming = [
        resolve_point(spec, cells[0], {}, variant=name, seed=101) for name in ("default", "p003")
    ]
    point = resolve_point(spec, cells[0], {}, variant="p000", seed=0)
    write_plan(folder, spec, confirming)
    write_trial(folder, point)
    for trial in (confirming[0], point):
        record_failure(folder.trial(trial.trial_id), "out of memory")
    assert reopen_trials(folder, spec, cells) == 1
    assert folder.outcome(confirming[0].trial_id) is None
    assert folder.outcome(point.trial_id) is not None


def test_a_search_may_ask_its_judge_elsewhere_and_may_not_ask_another(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(
        "name: s\n"
        "task: {kind: refiner, judge: {kind: openai, base_url: 'http://a/v1', model: m}}\n"
        "trial: {model: builtin:tiny, grpo: {max_steps: 4}}\n"
        "search:\n"
        "  space: {settings: {grpo.beta: {low: 0.0, high: 1.0}}}\n"
        "  num_trials: 2\n"
    )

    def reopened(*overrides: str) -> list[str]:
        spec = load_sweep(file, overrides)
        found = open_sweep_folder(tmp_path / "s", spec, expand(spec), is_resuming=True)
        return [change.key for change in found.changes]

    reopened()
    point = tmp_path / "s" / "trials" / "p000"
    point.mkdir(parents=True)
    (point / "metrics.jsonl").touch()
    keys = ["task.judge.base_url", "task.judge.max_concurrent_calls"]
    assert reopened(f"{keys[0]}=http://b/v1", f"{keys[1]}=8") == keys
    with pytest.raises(StorageError, match=r"task\.judge\.model \(m -> n\)"):
        reopened("task.judge.model=n")


def lock_of(scorer: str) -> dict[str, object]:
    return {"evaluation_key": {}, "baseline_key": {}, "baseline": "b", "scorer_hash": scorer}


@pytest.mark.parametrize(
    ("states", "is_retrying", "is_refused"),
    [
        pytest.param(["FINISHED"] * 3, False, True, id="more-to-train"),
        pytest.param(["FINISHED"] * 4, False, False, id="at-its-end"),
        pytest.param(["FAILED", *["FINISHED"] * 3], True, True, id="a-failed-one-is-run-again"),
        pytest.param(["FAILED", *["FINISHED"] * 3], False, False, id="a-failed-one-stays"),
    ],
)
def test_results_of_another_scorer_get_no_new_ones_beside_them(
    tmp_path: Path, states: list[str], is_retrying: bool, is_refused: bool
) -> None:
    folder, trials = opened(tmp_path / "q").folder, expand(sweep())
    for trial, state in zip(trials, states, strict=False):
        write_json(folder.trial(trial.trial_id) / "outcome.json", {"state": state})
        write_json(folder.trial(trial.trial_id) / "lock.json", lock_of("another"))
    found = f"{states.count('FINISHED')} finished trials.*another version of task"
    if is_refused:
        with pytest.raises(StorageError, match=found):
            check_scorer(sweep(), trials, folder.path, is_retrying=is_retrying)
    else:
        (warning,) = check_scorer(sweep(), trials, folder.path, is_retrying=is_retrying)
        assert re.match(found, warning)


def test_results_of_this_scorer_are_added_to(tmp_path: Path) -> None:
    folder, trials = opened(tmp_path / "q").folder, expand(sweep())
    scorer = load_task(sweep().task).scorer_hash()
    write_json(folder.trial(trials[0].trial_id) / "outcome.json", {"state": "FINISHED"})
    write_json(folder.trial(trials[0].trial_id) / "lock.json", lock_of(scorer))
    assert check_scorer(sweep(), trials, folder.path, is_retrying=False) == []


def test_a_task_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trainables.tasks.strict_json.task", None)
    with pytest.raises(SpecError, match=r"task.kind = strict_json: .* cannot be imported"):
        check_scorer(sweep(), (), opened(tmp_path / "q").folder.path, is_retrying=False)


def test_a_resume_that_is_refused_for_its_scorer_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quickstart"
    folder = opened(path).folder
    for trial in expand(sweep()):
        write_json(folder.trial(trial.trial_id) / "outcome.json", {"state": "FINISHED"})
        write_json(folder.trial(trial.trial_id) / "lock.json", lock_of("another"))
    before = {name: (path / name).read_bytes() for name in ("plan.json", "sweep.yaml")}
    crossed = [part for text in CROSSED for part in ("--set", text)]
    asked = [*crossed, "--resume", "--out", str(tmp_path), "--set", "matrix.seed=[0,1]"]
    assert main(["run", str(QUICKSTART), *asked]) == 2
    assert "scored by another version" in capsys.readouterr().err
    assert {name: (path / name).read_bytes() for name in before} == before


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A sweep's folder below ``tmp_path``, and a process that holds it and has not said so."""
    path = tmp_path / "quickstart"
    code = (
        "import sys; from pathlib import Path\n"
        "from strictune.launch.driver import locked\n"
        "from strictune.launch.folder import SweepFolder\n"
        "with locked(SweepFolder(Path(sys.argv[1]))):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    imports = os.pathsep.join((str(ROOT), str(ROOT / "platform")))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONPATH": imports},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield path, holder
        holder.kill()


def contents(path: Path) -> dict[str, bytes]:
    return {str(found): found.read_bytes() for found in path.rglob("*") if found.is_file()}


def test_a_second_driver_changes_nothing(
    held: tuple[Path, subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = held
    folder = opened(path).folder
    record_failure(folder.trial(expand(sweep())[0].trial_id), "it broke")
    before = contents(path)
    crossed = [part for text in CROSSED for part in ("--set", text)]
    asked = [*crossed, "--resume", "--retry", "--out", str(path.parent)]
    asked += ["--set", "matrix.seed=[0,1]"]
    assert main(["run", str(QUICKSTART), *asked]) == 2
    assert f"{path} is being run by another process" in capsys.readouterr().err
    assert contents(path) == before


def test_a_killed_driver_lets_go_of_its_folder(held: tuple[Path, subprocess.Popen[str]]) -> None:
    path, holder = held
    with pytest.raises(StorageError, match="is being run by"), locked(SweepFolder(path)):
        pass
    holder.kill()
    holder.wait()
    with locked(SweepFolder(path)), driving(SweepFolder(path)):
        assert opened(path, is_resuming=False).folder.path == path


def test_what_holds_no_sweep_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="holds no sweep"), locked(SweepFolder(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("working_dir", "out", "is_lost"),
    [
        pytest.param("gcs://_ray_pkg_1.zip", "runs", True, id="relative-in-a-copy"),
        pytest.param("https://host/code.zip", "runs", True, id="relative-in-a-download"),
        pytest.param("gcs://_ray_pkg_1.zip", "/shared/runs", False, id="absolute"),
        pytest.param("gcs://_ray_pkg_1.zip", "../runs", False, id="beside-the-copy"),
        pytest.param("local:///app", "runs", False, id="folder-of-the-machine"),
        pytest.param(None, "runs", False, id="no-copy"),
        pytest.param("", "runs", False, id="no-job"),
    ],
)
def test_results_never_land_in_the_temporary_copy_of_a_job(
    working_dir: str | None, out: str, is_lost: bool
) -> None:
    job = {"runtime_env": {"working_dir": working_dir}}
    environment = {} if working_dir == "" else {JOB_VARIABLE: json.dumps(job)}
    if is_lost:
        with pytest.raises(StorageError, match="which Ray deletes"):
            refuse_temporary_folder(Path(out), environment)
    else:
        refuse_temporary_folder(Path(out), environment)

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from synthetic_sweep import SHARED_KEY, FakeTrial, write_sweep

from analysis.compare import compare_runs, comparison_lines
from analysis.measured import differing_parts
from analysis.verdicts import Word
from strictune.cli import main
from strictune.errors import SpecError, StorageError


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(
        tmp_path_factory.mktemp("runs") / "pairs",
        [
            FakeTrial(trial_id="plain"),
            FakeTrial(trial_id="again", seed=1),
            FakeTrial(trial_id="think", thinking=True, rates=(0.9, 0.8, 0.75), num_samples=2),
            FakeTrial(trial_id="rescored", evaluation_key={**SHARED_KEY, "scorer": "n3w"}),
            FakeTrial(trial_id="failed", state="FAILED", reason="out of memory"),
        ],
    )


def test_parts_that_differ_are_named_with_both_values() -> None:
    found = differing_parts({"suite": "a", "top_p": 0.95}, {"suite": "a", "top_p": 1, "stop": "x"})
    assert found == {"top_p": ("0.95", "1"), "stop": ("absent", "'x'")}


def test_a_trial_is_compared_with_its_baseline(sweep: Path) -> None:
    compared = compare_runs(sweep / "trials" / "plain", sweep / "baselines" / "tiny-plain")
    assert compared.criterion == "strict"
    assert compared.verdict.word is Word.BETTER
    assert compared.contrast_parts == {}
    assert compared.discordance is not None
    assert compared.verdict.effect == compared.deltas["strict"]


def test_a_trial_is_not_compared_with_the_baseline_of_another_cell(sweep: Path) -> None:
    with pytest.raises(SpecError, match="baseline keys differ: thinking is False in trials/plain"):
        compare_runs(sweep / "trials" / "plain", sweep / "baselines" / "tiny-think")


def test_trials_that_did_not_start_equal_show_the_difference_of_gains(sweep: Path) -> None:
    compared = compare_runs(sweep / "trials" / "think", sweep / "trials" / "plain")
    assert compared.contrast_parts == {"thinking": ("True", "False")}
    assert compared.gain_effect is not None
    assert compared.num_completions == (480, 240)
    assert compared.discordance is None
    assert any("They did not start equal: thinking" in line for line in comparison_lines(compared))


def two_starts(folder: Path) -> tuple[Path, Path]:
    """Write two trials that did not start equal, each with its baseline."""
    trials = [FakeTrial(trial_id="a"), FakeTrial(trial_id="b", thinking=True)]
    write_sweep(folder, trials)
    return folder / "trials" / "a", folder / "trials" / "b"


@pytest.mark.parametrize("outcome", ["FAILED", None], ids=["failed", "still-running"])
def test_a_baseline_without_a_result_leaves_trials_comparable(
    tmp_path: Path, outcome: str | None
) -> None:
    runs = two_starts(tmp_path / "s")
    path = tmp_path / "s" / "baselines" / "tiny-plain" / "outcome.json"
    path.unlink()
    if outcome is not None:
        path.write_text(json.dumps({"state": outcome, "reason": "out of memory"}))
    compared = compare_runs(*runs)
    assert compared.verdict.effect is not None
    assert compared.gain_effect is None


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        pytest.param("no rows", StorageError, "samples.parquet: holds no answers", id="empty"),
        pytest.param(
            "no criterion", SpecError, "--criterion strict: not scored in trials/b", id="criterion"
        ),
    ],
)
def test_samples_that_cannot_be_used_are_named(
    tmp_path: Path, damage: str, error: type[Exception], message: str
) -> None:
    ours, theirs = two_starts(tmp_path / "s")
    path = theirs / "eval" / "test" / "samples.parquet"
    table = pd.read_parquet(path)
    table = table.iloc[:0] if damage == "no rows" else table.drop(columns="criterion/strict")
    table.to_parquet(path, index=False)
    with pytest.raises(error, match=message):
        compare_runs(ours, theirs)


def test_a_single_family_has_no_interval_of_gains(tmp_path: Path) -> None:
    runs = two_starts(tmp_path / "s")
    for path in (tmp_path / "s").rglob("samples.parquet"):
        pd.read_parquet(path).assign(family="one").to_parquet(path, index=False)
    line = comparison_lines(compare_runs(*runs))[-1]
    assert line.startswith("Difference of their gains over their baselines: ")
    assert line.endswith(" pp (no interval).")


def test_a_control_is_compared_with_its_own_baseline_across_the_grammar(tmp_path: Path) -> None:
    two_starts(tmp_path / "s")
    baseline, control = (tmp_path / "s" / name for name in ("baselines/tiny-plain", "controls/g"))
    shutil.copytree(baseline, control)
    lock = json.loads((control / "lock.json").read_text())
    for key in ("evaluation_key", "baseline_key"):
        lock[key]["grammar"] = "llguidance"
    (control / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(SpecError, match="evaluation keys differ: grammar"):
        compare_runs(control, baseline)
    assert compare_runs(control, baseline, across=["grammar"]).contrast_parts.keys() == {"grammar"}
    lock["baseline_key"]["dtype"] = "float32"
    (control / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(SpecError, match="baseline keys differ: dtype is 'float32'"):
        compare_runs(control, baseline, across=["grammar"])


def test_the_other_order_changes_the_sign(sweep: Path) -> None:
    plain, think = sweep / "trials" / "plain", sweep / "trials" / "think"
    one, other = compare_runs(think, plain, "parsed"), compare_runs(plain, think, "parsed")
    assert one.deltas["strict"].estimate_pp == pytest.approx(-other.deltas["strict"].estimate_pp)
    assert one.criterion == "parsed"


@pytest.mark.parametrize(
    ("other", "criterion", "error", "message"),
    [
        pytest.param("rescored", None, SpecError, "scorer is '5c0re'", id="other-scorer"),
        pytest.param("failed", None, StorageError, r"failed \(out of memory\)", id="no-result"),
        pytest.param("absent", None, StorageError, "there is no such folder", id="no-folder"),
        pytest.param(
            "again", "nice", SpecError, "expected one of syntax, parsed", id="no-criterion"
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    sweep: Path, other: str, criterion: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compare_runs(sweep / "trials" / "plain", sweep / "trials" / other, criterion)


def test_a_run_outside_any_sweep_needs_the_criterion(sweep: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "plain"
    moved.parent.mkdir()
    moved.symlink_to(sweep / "trials" / "plain")
    assert compare_runs(moved, sweep / "trials" / "again").criterion == "strict"
    alone = write_sweep(tmp_path / "alone", [FakeTrial(trial_id="x")])
    (alone / "plan.json").unlink()
    with pytest.raises(SpecError, match="Add --criterion, one of syntax, parsed"):
        compare_runs(alone / "trials" / "x", sweep / "trials" / "plain")
    assert (
        compare_runs(alone / "trials" / "x", sweep / "trials" / "plain", "clean").criterion
        == "clean"
    )


def test_the_verb_prints_sentences(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["compare", str(sweep / "trials/again"), str(sweep / "trials/plain")])
    assert code == 0
    assert "between again and plain" in capsys.readouterr().out


def test_the_verb_prints_json(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(sweep / "trials/plain"), str(sweep / "baselines/tiny-plain")]
    assert main(["compare", *runs, "--json", "--criterion", "conformant"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["criterion"] == "conformant"
    assert document["verdict"]["word"] == "better"


def test_the_verb_refuses_with_exit_code_2(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(sweep / "trials/plain"), str(sweep / "trials/rescored")]) == 2
    assert "their evaluation keys differ: scorer" in capsys.readouterr().err

import json
from pathlib import Path

import pytest
from synthetic_sweep import SHARED_KEY, FakeTrial, write_sweep

from analysis.compare import compare_runs, comparison_lines
from analysis.keys import check_baseline_key, check_evaluation_key, differing_parts
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


@pytest.mark.parametrize(
    ("check", "kind"), [(check_evaluation_key, "evaluation"), (check_baseline_key, "baseline")]
)
def test_keys_that_differ_refuse_the_comparison(check: type, kind: str) -> None:
    check({"dtype": "bfloat16"}, {"dtype": "bfloat16"}, names=("a", "b"))
    with pytest.raises(SpecError, match=f"{kind} keys differ: dtype is 'bfloat16' in a but 'f"):
        check({"dtype": "bfloat16"}, {"dtype": "float32"}, names=("a", "b"))


def test_a_trial_is_compared_with_its_baseline(sweep: Path) -> None:
    compared = compare_runs(sweep / "trials" / "plain", sweep / "baselines" / "tiny-plain")
    assert compared.rung == "strict"
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


def test_the_other_order_changes_the_sign(sweep: Path) -> None:
    plain, think = sweep / "trials" / "plain", sweep / "trials" / "think"
    one, other = compare_runs(think, plain, "parsed"), compare_runs(plain, think, "parsed")
    assert one.deltas["strict"].estimate_pp == pytest.approx(-other.deltas["strict"].estimate_pp)
    assert one.rung == "parsed"


@pytest.mark.parametrize(
    ("other", "rung", "error", "message"),
    [
        pytest.param("rescored", None, SpecError, "scorer is '5c0re'", id="other-scorer"),
        pytest.param("failed", None, StorageError, r"failed \(out of memory\)", id="no-result"),
        pytest.param("absent", None, StorageError, "there is no such folder", id="no-folder"),
        pytest.param("again", "nice", SpecError, "expected one of syntax, parsed", id="no-rung"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    sweep: Path, other: str, rung: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compare_runs(sweep / "trials" / "plain", sweep / "trials" / other, rung)


def test_a_run_outside_any_sweep_needs_the_rung(sweep: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "plain"
    moved.parent.mkdir()
    moved.symlink_to(sweep / "trials" / "plain")
    assert compare_runs(moved, sweep / "trials" / "again").rung == "strict"
    alone = write_sweep(tmp_path / "alone", [FakeTrial(trial_id="x")])
    (alone / "plan.json").unlink()
    with pytest.raises(SpecError, match="Add --rung, one of syntax, parsed"):
        compare_runs(alone / "trials" / "x", sweep / "trials" / "plain")
    assert compare_runs(alone / "trials" / "x", sweep / "trials" / "plain", "clean").rung == "clean"


def test_the_verb_prints_sentences(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["compare", str(sweep / "trials/again"), str(sweep / "trials/plain")])
    assert code == 0
    assert "between again and plain" in capsys.readouterr().out


def test_the_verb_prints_json(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(sweep / "trials/plain"), str(sweep / "baselines/tiny-plain")]
    assert main(["compare", *runs, "--json", "--rung", "conformant"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rung"] == "conformant"
    assert document["verdict"]["word"] == "better"


def test_the_verb_refuses_with_exit_code_2(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(sweep / "trials/plain"), str(sweep / "trials/rescored")]) == 2
    assert "their evaluation keys differ: scorer" in capsys.readouterr().err

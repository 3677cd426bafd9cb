"""What to run next: one rule at a time."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from reported_sweep import Drawing, write_reported_sweep

from analysis.records import RunState
from analysis.report import NextStep, next_steps, write_report
from analysis.report.training import MAX_SERIES
from analysis.sweep import SweepVerdicts, sweep_verdicts
from analysis.trials import TrialVerdict
from analysis.verdicts import Effect, Verdict, Word

pytestmark = pytest.mark.usefixtures("one_figure")

FOLDER = Path("runs/quickstart")


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> SweepVerdicts:
    """Two cells of three seeds, every trial better than its baseline."""
    folder = tmp_path_factory.mktemp("next") / "demo"
    overrides = ["matrix.curriculum=[standard]", "contrasts=[]", "matrix.seed=[0, 1, 2]"]
    write_reported_sweep(folder, Drawing(num_prompts=120), overrides=overrides)
    return sweep_verdicts(folder)


def steps(verdicts: SweepVerdicts, share: float = 0.1) -> list[NextStep]:
    return next_steps(verdicts, FOLDER, flat_groups={"a": share, "b": 0.1})


def with_first(verdicts: SweepVerdicts, **changes: object) -> SweepVerdicts:
    first: TrialVerdict = dataclasses.replace(verdicts.trials[0], **changes)
    return dataclasses.replace(verdicts, trials=(first, *verdicts.trials[1:]))


def with_result(verdicts: SweepVerdicts, **changes: object) -> SweepVerdicts:
    result = verdicts.trials[0].result
    assert result is not None
    return with_first(verdicts, result=dataclasses.replace(result, **changes))


def test_a_decided_sweep_is_to_be_tried_elsewhere(decided: SweepVerdicts) -> None:
    (step,) = steps(decided)
    assert "6 trials ended better than untrained" in step.text
    assert "hold over seeds" in step.text
    assert str(step.command).startswith(
        "strictune evaluate --model builtin:tiny --adapter runs/quickstart/"
    )


def test_open_trials_come_first(decided: SweepVerdicts) -> None:
    states = {**dict.fromkeys(RunState, 0), RunState.RUNNING: 1, RunState.PENDING: 2}
    first = steps(dataclasses.replace(decided, states=states))[0]
    assert first.text.startswith("3 trials of 6 have not ended.")
    assert first.command == "strictune run runs/quickstart/sweep.yaml --resume"


def test_failed_trials_are_to_be_run_again_with_their_reason(decided: SweepVerdicts) -> None:
    failed = with_first(
        decided, state=RunState.FAILED, reason="failed (out of memory).", result=None
    )
    first = steps(failed)[0]
    assert first.text.startswith("1 trial did not finish: failed (out of memory). Run again")
    assert first.command == "strictune run runs/quickstart/sweep.yaml --resume --retry"


def test_trials_without_a_baseline_are_named(decided: SweepVerdicts) -> None:
    alone = with_first(decided, comparison=None, reason="baselines/x has no result: running.")
    first = steps(alone)[0]
    assert "1 trial finished but cannot be compared: baselines/x has no result" in first.text
    assert first.command == "strictune run runs/quickstart/sweep.yaml --resume"


def test_few_seeds_ask_for_more_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    overrides = ["matrix.curriculum=[standard]", "contrasts=[]", "matrix.seed=[5]"]
    write_reported_sweep(folder, Drawing(num_prompts=24), overrides=overrides)
    found = [step for step in steps(sweep_verdicts(folder)) if "fewer than 3 seeds" in step.text]
    (step,) = found
    assert step.command == (
        "strictune run runs/quickstart/sweep.yaml --set 'matrix.seed=[5,0,1]' --resume"
    )


def test_more_seeds_of_a_search_are_seeds_of_its_confirmation(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    overrides = ["matrix.curriculum=[standard]", "contrasts=[]", "matrix.seed=[101]"]
    write_reported_sweep(folder, Drawing(num_prompts=24), overrides=overrides)
    found = next_steps(sweep_verdicts(folder), FOLDER, is_search=True)
    (step,) = [step for step in found if "fewer than 3 seeds" in step.text]
    assert "--set 'search.confirm.seeds=[101,102,103]' --resume" in str(step.command)


def test_a_wide_design_says_how_many_prompts_it_would_take(decided: SweepVerdicts) -> None:
    unclear = Verdict(word=Word.UNCLEAR, text="", detectable_pp=10.0)
    texts = [step.text for step in steps(with_first(decided, verdict=unclear))]
    assert any("about 4.0 times as many prompts" in text for text in texts)
    sharp = Verdict(word=Word.UNCLEAR, text="", detectable_pp=4.0)
    texts = [step.text for step in steps(with_first(decided, verdict=sharp))]
    assert not any("times as many prompts" in text for text in texts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"is_think_rate_low": True}, "mostly did not", id="does-not-think"),
        pytest.param({"truncated_frac": 0.4}, "Up to 40% of the completions", id="truncated"),
    ],
)
def test_results_that_mislead_are_named(
    decided: SweepVerdicts, change: dict[str, object], said: str
) -> None:
    name = decided.trials[0].plan.name
    texts = [step.text for step in steps(with_result(decided, **change))]
    assert any(said in text and name in text for text in texts)


def test_components_without_weight_are_named(decided: SweepVerdicts) -> None:
    texts = [step.text for step in steps(with_first(decided, ties=("schema",)))]
    assert any("put no weight on schema" in text for text in texts)


def test_groups_that_teach_nothing_are_named(decided: SweepVerdicts) -> None:
    (text,) = [step.text for step in steps(decided, share=0.8) if "earn the same" in step.text]
    assert text.startswith("At the end of training more than 50% of the groups of a earn the same")
    assert not any("earn the same" in step.text for step in steps(decided, share=0.2))


def test_failing_completions_that_earn_more_are_said(decided: SweepVerdicts) -> None:
    above = next_steps(decided, FOLDER, failing_above={"a": 0.25, "b": 0.01})
    (text,) = [step.text for step in above if "earned more" in step.text]
    assert text.startswith("In 25% of the pairs")
    assert "(a)" in text and text.endswith("Pay more for what decides strict.")
    few = next_steps(decided, FOLDER, failing_above={"a": 0.01})
    assert not any("earned more" in step.text for step in few)


def write_flat_groups(folder: Path, shares: dict[int, list[float]]) -> None:
    """Write the share of flat groups at each step of some trials, by place in the plan."""
    plan = json.loads((folder / "plan.json").read_text())
    for place, values in shares.items():
        lines = [
            json.dumps({"step": step, "metrics": {"reward/zero_std_groups_frac": value}}) + "\n"
            for step, value in enumerate(values, start=1)
        ]
        trial = folder / "trials" / plan["trials"][place]["trial_id"]
        (trial / "metrics.jsonl").write_text("".join(lines))


def test_flat_groups_are_those_of_the_end_of_every_finished_cell(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    models = "matrix.model=[builtin:tiny, package:smollm2-135m]"
    overrides = ["contrasts=[]", "matrix.seed=[0]", models]
    write_reported_sweep(folder, Drawing(num_prompts=12), overrides=overrides, unfinished=[0])
    plan = json.loads((folder / "plan.json").read_text())
    assert len(plan["cells"]) == 8 > MAX_SERIES
    early, late = [0.9] * 10 + [0.1] * 10, [0.1] * 10 + [0.9] * 10
    # Of eight cells the fourth and the last are not drawn.
    write_flat_groups(folder, {0: late, 1: early, 7: late})
    report = write_report(folder)
    (text,) = [step.text for step in report.steps if "earn the same" in step.text]
    assert f"the groups of {plan['trials'][7]['cell']} earn the same" in text


def settled(verdicts: SweepVerdicts, word: Word, detectable_pp: float = 2.0) -> SweepVerdicts:
    """Give every planned comparison the same outcome."""
    verdict = Verdict(
        word=word,
        text="",
        effect=Effect(estimate_pp=0.0, low_pp=-1.0, high_pp=1.0),
        detectable_pp=detectable_pp,
    )
    return dataclasses.replace(
        verdicts,
        trials=tuple(dataclasses.replace(trial, verdict=verdict) for trial in verdicts.trials),
        cells=tuple(dataclasses.replace(cell, verdict=verdict) for cell in verdicts.cells),
    )


def test_nothing_is_left_open_only_where_everything_is_decided(decided: SweepVerdicts) -> None:
    (step,) = steps(settled(decided, Word.EQUIVALENT))
    assert step.text == "Nothing is left open: every planned comparison is decided."
    (step,) = steps(settled(decided, Word.UNCLEAR))
    assert step.text.startswith("8 comparisons are undecided, although a difference of 5 points")


def test_a_wide_recipe_asks_for_seeds_or_prompts(decided: SweepVerdicts) -> None:
    equal = settled(decided, Word.EQUIVALENT)
    wide = settled(decided, Word.UNCLEAR, detectable_pp=7.5).cells[0]
    (step,) = steps(dataclasses.replace(equal, cells=(wide, *equal.cells[1:])))
    assert step.text.startswith(f"{wide.cell} shows no clear difference over seeds, and this")
    assert "sees none below 7.5 points" in step.text


def test_a_trial_that_got_worse_is_to_be_read(decided: SweepVerdicts) -> None:
    worse = with_first(decided, verdict=Verdict(word=Word.WORSE, text=""))
    assert any("worse than untrained" in step.text for step in steps(worse))


def test_a_copy_is_not_gone_on_with(decided: SweepVerdicts) -> None:
    states = {**dict.fromkeys(RunState, 0), RunState.PENDING: 2}
    waiting = dataclasses.replace(decided, states=states)
    first = next_steps(waiting, Path("runs/copy"))[0]
    assert "2 trials of 6 have not ended" in first.text
    assert first.command is None


def test_a_criterion_that_nobody_reaches_comes_before_more_seeds(tmp_path: Path) -> None:
    drawing = Drawing(num_prompts=24, baseline_rate=0.0, trained_rate=0.0)
    write_reported_sweep(tmp_path / "q", drawing)
    first, *others = steps(sweep_verdicts(tmp_path / "q"))
    assert first.text.startswith("No answer reached strict, untrained or trained")
    assert any("fewer than 3 seeds" in step.text for step in others)


def test_what_the_untrained_model_reaches_is_not_said_before_it_is_measured(tmp_path: Path) -> None:
    write_reported_sweep(tmp_path / "q", Drawing(num_prompts=24, trained_rate=0.0))
    shutil.rmtree(tmp_path / "q" / "baselines")
    (text,) = [
        step.text for step in steps(sweep_verdicts(tmp_path / "q")) if "reached" in step.text
    ]
    assert text.startswith("No trained answer reached strict, and not every baseline is measured,")

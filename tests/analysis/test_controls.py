"""Control arms: what stands beside what, and what is not taken for a control."""

import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from synthetic_sweep import SHARED_KEY, FakeTrial, write_run, write_sweep

from analysis.measured import measure
from analysis.records import SweepRecords, read_run
from analysis.report.controls import ANSWERS, ARMS, control_rows, control_sentences
from analysis.sweep import SweepVerdicts, compared_trials, judge
from analysis.tables import Row, texts
from analysis.verdicts import Word
from strictune.records import CONTROLS

SEEDS = (0, 1, 2)
SFT_RATES, GRPO_RATES, GRAMMAR_RATES = (0.9, 0.6, 0.5), (0.9, 0.8, 0.7), (0.99, 0.95, 0.9)
HELD_KEY = {**SHARED_KEY, "grammar": "llguidance 1, abc"}


def trials(method: str, rates: tuple[float, float, float], **more: str) -> list[FakeTrial]:
    return [
        FakeTrial(trial_id=f"{method}-{seed}", method=method, seed=seed, rates=rates, **more)  # type: ignore[arg-type]
        for seed in SEEDS
    ]


def write_control(folder: Path, trial: FakeTrial) -> Path:
    return write_run(
        folder / CONTROLS / trial.trial_id, trial, draw=99, rates=GRAMMAR_RATES, state="FINISHED"
    )


def write_both_methods(parent: Path) -> Path:
    planned = [*trials("sft", SFT_RATES), *trials("grpo", GRPO_RATES)]
    folder = write_sweep(parent / "sweep", planned, contrasts=("method",))
    write_control(folder, FakeTrial(trial_id="held", evaluation_key=HELD_KEY))
    for trial in planned:
        lines = [
            {"step": 2, "metrics": {"train/completion_tokens": 100.0, "time/step_s": 3.0}},
            {"step": 4, "metrics": {"train/completion_tokens": 250.0, "time/step_s": 1.0}},
            {"step": 4, "metrics": {"eval/strict/pass_at_1": 0.5, "time/eval_s": 70.0}},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "trials" / trial.trial_id / "metrics.jsonl").write_text(text)
    return folder


def add_answers(folder: Path, *, right: dict[str, int]) -> None:
    """Make one in so many of a kind's strict answers the expected one."""
    for file in folder.glob("*/*/eval/test/samples.parquet"):
        samples = pd.read_parquet(file)
        every = right[file.parents[3].name]
        is_right = samples["criterion/strict"] & (samples.index % every == 0)
        samples.assign(**{"criterion/correct": is_right}).to_parquet(file, index=False)


class Both(NamedTuple):
    """A sweep and the arms that are read from it."""

    folder: Path
    arms: list[Row]
    verdicts: SweepVerdicts


def arms_of(folder: Path) -> Both:
    sweep = SweepRecords(folder)
    compared = compared_trials(sweep)
    verdicts = judge(sweep.plan, compared)
    cells = {cell.cell: cell.verdict for cell in verdicts.cells}
    return Both(folder, control_rows(sweep, compared, cells=cells), verdicts)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return arms_of(write_both_methods(tmp_path_factory.mktemp("both")))


def test_the_arms_of_a_model_stand_from_untrained_to_learned(both: Both) -> None:
    folder, arms, _ = both
    assert [arm["arm"] for arm in arms] == ["untrained", "grammar", "sft", "grpo"]
    untrained, held, supervised, learned = (arm["rate"] for arm in arms)
    assert untrained < supervised < learned < held
    seeds = [measure(read_run(folder / "trials" / f"sft-{seed}")) for seed in SEEDS]
    assert supervised == pytest.approx(sum(run.criterion("strict").mean() for run in seeds) / 3)
    assert all(arm["low"] < arm["rate"] < arm["high"] for arm in arms)
    assert [arm["num_seeds"] for arm in arms] == [None, None, 3, 3]
    words = [None, "better, not planned", "better", "better"]
    assert [arm["verdict"] for arm in arms] == words


def test_trained_cells_are_held_against_the_grammar_too(both: Both) -> None:
    arms = both.arms
    assert [arm["against_grammar"] for arm in arms[:2]] == [None, None]
    for arm in arms[2:]:
        text = f"{100 * (arm['rate'] - arms[1]['rate']):+.1f} pp ["
        assert str(arm["against_grammar"]).startswith(text)


def test_training_is_counted_in_tokens_and_seconds_of_steps(both: Both) -> None:
    arms = both.arms
    assert [arm["completion_tokens"] for arm in arms[2:]] == [250.0, 250.0]
    # Two steps of 3 s and two of 1 s; evaluations are not training.
    assert [arm["training_s"] for arm in arms[2:]] == [8.0, 8.0]
    assert all(math.isnan(arm["training_s"]) for arm in arms[:2])


def test_the_speed_is_that_of_the_final_evaluation(tmp_path: Path) -> None:
    sweep = write_both_methods(tmp_path)
    record = read_run(sweep / CONTROLS / "held")
    assert math.isnan(record.decoding_speed)
    summary = {"num_completions": 200, "completion_tokens_mean": 30.0, "seconds": 12.0}
    (record.samples_file.parent / "summary.json").write_text(json.dumps(summary))
    assert read_run(record.folder).decoding_speed == 500.0
    assert [arm["tokens_per_s"] for arm in arms_of(sweep).arms if arm["arm"] == "grammar"] == [500]


def test_learning_is_held_against_supervised_training(both: Both) -> None:
    [contrast] = both.verdicts.contrasts
    assert (contrast.level, contrast.against_level) == ("grpo", "sft")
    assert contrast.verdict.word is Word.BETTER
    assert contrast.is_same_baseline
    [line] = control_sentences(both.verdicts, [])
    assert line.startswith("grpo against sft (tiny no-think standard): +")


def test_an_undeclared_pair_has_an_interval_and_no_verdict(tmp_path: Path) -> None:
    planned = [*trials("sft", SFT_RATES), *trials("grpo", GRPO_RATES)]
    verdicts = arms_of(write_sweep(tmp_path / "sweep", planned)).verdicts
    row = {
        "factor": "method",
        "level": "grpo",
        "against": "sft",
        "within": "tiny, no-think, standard",
        "num_prompts": 240,
        "difficulty": "all",
        "is_planned": False,
        **{"delta_pp": 20.0, "low_pp": 12.0, "high_pp": 28.0},
    }
    [line] = control_sentences(verdicts, [row, {**row, "difficulty": "hard"}])
    assert line.startswith(
        "grpo against sft (tiny, no-think, standard): +20.0 pp [12.0, 28.0], exploratory"
    )


@pytest.mark.parametrize(
    "control",
    [
        pytest.param(
            FakeTrial(trial_id="held", evaluation_key={**HELD_KEY, "temperature": 0.1}),
            id="other-decoding",
        ),
        pytest.param(
            FakeTrial(trial_id="held", evaluation_key=HELD_KEY, model="other"), id="other-model"
        ),
        pytest.param(
            FakeTrial(trial_id="held", evaluation_key=HELD_KEY, thinking=True), id="thinking"
        ),
        pytest.param(FakeTrial(trial_id="held"), id="no-grammar"),
    ],
)
def test_only_the_grammar_may_be_between_a_control_and_its_baseline(
    tmp_path: Path, control: FakeTrial
) -> None:
    folder = write_sweep(tmp_path / "sweep", trials("grpo", GRPO_RATES))
    write_control(folder, control)
    assert arms_of(folder).arms == []


def test_every_precision_is_held_against_its_own_control(tmp_path: Path) -> None:
    planned = [
        FakeTrial(trial_id=name, variant=name, quantization=name, rates=GRPO_RATES)
        for name in ("none", "nf4")
    ]
    folder = write_sweep(tmp_path / "sweep", planned)
    rates = {"none": (0.9, 0.7, 0.6), "nf4": (0.9, 0.4, 0.3)}
    for name, rate in rates.items():
        held = FakeTrial(trial_id=name, quantization=name, evaluation_key=HELD_KEY, rates=rate)
        write_run(folder / CONTROLS / name, held, draw=99)
    arms = arms_of(folder).arms
    assert [arm["name"] for arm in arms] == [
        "untrained, quantization none",
        "untrained, under the grammar, quantization none",
        "tiny no-think standard none, quantization none",
        "untrained, quantization nf4",
        "untrained, under the grammar, quantization nf4",
        "tiny no-think standard nf4, quantization nf4",
    ]
    for start in (0, 3):
        _, held_arm, trained = arms[start : start + 3]
        text = f"{100 * (trained['rate'] - held_arm['rate']):+.1f} pp ["
        assert str(trained["against_grammar"]).startswith(text)


@pytest.mark.parametrize("is_baseline_lost", [False, True])
def test_a_seed_that_was_measured_on_other_prompts_is_in_no_arm(
    tmp_path: Path, is_baseline_lost: bool
) -> None:
    later = FakeTrial(
        trial_id="later",
        method="sft",
        seed=1,
        num_prompts=120,
        evaluation_key={**SHARED_KEY, "suite": "new"},
    )
    first = FakeTrial(trial_id="first", method="sft")
    folder = write_sweep(tmp_path / "sweep", [first, later])
    if is_baseline_lost:
        shutil.rmtree(folder / "baselines" / first.baseline)
    *_, trained = arms_of(folder).arms
    assert (trained["name"], trained["num_seeds"]) == ("tiny no-think standard sft", 1)
    only = measure(read_run(folder / "trials" / "first"))
    assert trained["rate"] == pytest.approx(only.criterion("strict").mean())


def test_a_sweep_without_controls_has_no_arms(tmp_path: Path) -> None:
    assert arms_of(write_sweep(tmp_path / "sweep", trials("grpo", GRPO_RATES))).arms == []


def test_a_cell_of_few_seeds_is_shown_undecided(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep", trials("sft", SFT_RATES)[:1])
    untrained, cell = texts(ARMS, arms_of(folder).arms)
    assert (untrained["verdict"], cell["verdict"]) == ("-", "undecided")
    assert cell["against the baseline"].startswith("+")
    assert cell["tokens trained on"] == "-"


def test_a_trial_from_before_tokens_were_counted_has_none(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "metrics": {"train/loss": 1.0}}\n')
    for folder in (tmp_path, tmp_path / "none"):
        run = read_run(folder)
        assert math.isnan(run.trained_tokens) and math.isnan(run.training_s)


def test_valid_and_right_stand_beside_each_other_where_answers_are_known(tmp_path: Path) -> None:
    folder = write_both_methods(tmp_path)
    assert not any("right" in arm for arm in arms_of(folder).arms)
    add_answers(folder, right={"baselines": 1, "controls": 10, "trials": 2})
    untrained, held, supervised, _ = arms_of(folder).arms
    assert untrained["valid"] < held["valid"] and untrained["right"] > held["right"]
    for arm in (untrained, held, supervised):
        assert arm["valid_but_wrong"] == pytest.approx(arm["valid"] - arm["right"])
        for name in ("valid", "strict", "right", "valid_but_wrong"):
            assert arm[f"{name}_low"] < arm[name] < arm[f"{name}_high"] + 1e-9
    measured = measure(read_run(folder / CONTROLS / "held"))
    assert held["valid"] == measured.criterion("conformant").mean()
    assert tuple(measured.rate("correct")) == (held["right"], held["right_low"], held["right_high"])
    shown = texts(ANSWERS, [held])[0]
    assert list(shown) == ["model", "arm", "valid", "strict", "right", "valid but wrong"]


def test_a_task_with_another_ladder_says_nothing_of_valid_answers(tmp_path: Path) -> None:
    folder = write_both_methods(tmp_path)
    add_answers(folder, right={"baselines": 1, "controls": 10, "trials": 2})
    plan = folder / "plan.json"
    text = plan.read_text().replace('"conformant"', '"tagged"').replace("strict_json", "sums")
    plan.write_text(text)
    for file in folder.glob("*/*/eval/test/samples.parquet"):
        samples = pd.read_parquet(file)
        samples.columns = samples.columns.str.replace("conformant", "tagged")
        samples.to_parquet(file, index=False)
    arms = arms_of(folder).arms
    assert len(arms) == 4 and not any("right" in arm for arm in arms)

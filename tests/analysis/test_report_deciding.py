"""What to run next where finished trials decide nothing."""

import dataclasses
from pathlib import Path

import pandas as pd
from synthetic_sweep import SHARED_KEY, FakeTrial, write_sweep

from analysis.report import next_steps
from analysis.sweep import sweep_verdicts


def test_a_single_family_is_no_decision(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", [FakeTrial(trial_id=f"t{i}", seed=i) for i in range(3)])
    for path in folder.rglob("samples.parquet"):
        pd.read_parquet(path).assign(family="one").to_parquet(path, index=False)
    (step,) = next_steps(sweep_verdicts(folder), folder)
    assert "belong to one family, which shows nothing about others" in step.text


def test_too_few_families_are_named_where_no_difference_could_be_seen(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", [FakeTrial(trial_id=f"t{i}", seed=i) for i in range(3)])
    for path in folder.rglob("samples.parquet"):
        samples = pd.read_parquet(path)
        # Two families, of which one shows a gain and the other a loss.
        is_first = samples.groupby("family").ngroup() % 2 == 0
        is_right = is_first if "trials" in path.parts else ~is_first
        samples = samples.assign(family=is_first.map({True: "a", False: "b"}))
        criteria = [column for column in samples.columns if column.startswith("criterion/")]
        samples.assign(**dict.fromkeys(criteria, is_right)).to_parquet(path, index=False)
    texts = [step.text for step in next_steps(sweep_verdicts(folder), folder)]
    assert any(
        "this design sees none at all. To see 5 points, evaluate on many more prompts" in text
        for text in texts
    ), texts
    assert any("over seeds, and this design sees none at all." in text for text in texts), texts


def test_cells_measured_in_different_ways_are_named(tmp_path: Path) -> None:
    rescored = {**SHARED_KEY, "scorer": "n3w"}
    trials = [
        FakeTrial(trial_id=f"{curriculum}{seed}", curriculum=curriculum, seed=seed)
        for curriculum in ("a", "b")
        for seed in range(3)
    ]
    trials[4:] = [
        dataclasses.replace(trial, evaluation_key=rescored, quantization="nf4")
        for trial in trials[4:]
    ]
    folder = write_sweep(tmp_path / "s", trials, contrasts=["curriculum"])
    (text,) = [
        step.text for step in next_steps(sweep_verdicts(folder), folder) if "--out" in step.text
    ]
    assert text.startswith("tiny no-think b, b against a (tiny no-think b): not compared: ")
    assert "scorer is " in text
    assert text.endswith("with another --out, where all of it is measured alike.")

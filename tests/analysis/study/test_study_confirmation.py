"""The winner after training again: verdict, selection bias in numbers, and why there is none."""

import json
from pathlib import Path
from typing import Any

import pytest
from searched_sweep import TOKENS, drawn_weights, point, write_search
from searched_sweep import confirm as confirm_trials

from analysis.study.findings import Confirmation, confirm
from analysis.study.wording import selection_sentences, winner_sentences
from analysis.sweep import sweep_verdicts
from analysis.verdicts import Word
from strictune.records import read_studies

WEIGHTS = drawn_weights(1)[0]
POINTS = [point(0, values=[0.3]), point(1, WEIGHTS, values=[0.45])]


def confirmation(folder: Path) -> Confirmation:
    (study,) = read_studies(folder)
    return confirm(folder, study, sweep_verdicts(folder))


def retrained(
    folder: Path, winner_rate: float, seeds: tuple[int, ...] = (101, 102, 103)
) -> Confirmation:
    sweep = write_search(folder / "s", POINTS, winner=1)
    variants = {"default": {}, "p001": POINTS[1]["settings"]}
    rates = {"default": 0.3, "p001": winner_rate}
    confirm_trials(folder / "s", sweep, variants, rates=rates, seeds=seeds)
    return confirmation(folder / "s")


def test_a_winner_that_holds_gets_its_verdict(tmp_path: Path) -> None:
    found = retrained(tmp_path, 0.6)
    assert found.note is None
    (contrast,) = found.contrasts
    assert (contrast.level, contrast.against_level) == ("p001", "default")
    assert contrast.verdict.word is Word.BETTER
    (sentence,) = winner_sentences(found)
    assert sentence.startswith("p001, the winner, against the cell's own settings, trained again")


def test_what_is_left_of_the_lead_is_named(tmp_path: Path) -> None:
    found = retrained(tmp_path, 0.3)
    winner, default = found.variants
    assert (winner.variant, winner.selected, winner.num_planned) == ("p001", 0.45, 3)
    assert winner.mean == pytest.approx(0.3)
    assert winner.sd == pytest.approx(0.01)
    assert (default.variant, default.selected) == ("default", 0.3)
    lead = selection_sentences(found)[-1]
    assert "was +15.0 pp when it was picked as the best of many, and is +0.0 pp" in lead
    assert found.contrasts[0].verdict.word is not Word.BETTER


def test_the_first_point_is_a_rival_too(tmp_path: Path) -> None:
    sweep = write_search(tmp_path / "s", POINTS, winner=1)
    variants = {"first": {}, "p001": POINTS[1]["settings"]}
    confirm_trials(tmp_path / "s", sweep, variants, rates={"first": 0.3, "p001": 0.6})
    found = confirmation(tmp_path / "s")
    assert "against the study's first point" in winner_sentences(found)[0]
    lead = selection_sentences(found)[-1]
    assert "lead over the study's first point was +15.0 pp" in lead
    assert "is +30.0 pp" in lead


def test_no_lead_is_said_of_a_point_that_is_no_longer_the_best(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    later = point(2, drawn_weights(2)[1], values=[0.5])
    sweep = write_search(folder, [*POINTS, later], winner=2)
    variants = {"default": {}, "p001": POINTS[1]["settings"]}
    confirm_trials(folder, sweep, variants, rates={"default": 0.3, "p001": 0.4})
    found = confirmation(folder)
    assert found.note == "the confirming trials do not hold this winner. Resume the sweep."
    sentences = selection_sentences(found)
    assert [sentence.split(":")[0] for sentence in sentences] == ["default", "p001"]


def test_the_lead_in_what_is_minimized_is_how_much_less_of_it_there_is(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    points = [point(0, values=[310.0]), point(1, WEIGHTS, values=[90.0])]
    sweep = write_search(folder, points, winner=1, objectives=[{"metric": TOKENS, "mode": "min"}])
    variants = {"default": {}, "p001": POINTS[1]["settings"]}
    trials = confirm_trials(folder, sweep, variants, rates={"default": 0.3, "p001": 0.3})
    for trial in trials:
        tokens = 100.0 if trial.variant == "p001" else 300.0
        line = json.dumps({"step": 6, "time": 0.0, "metrics": {TOKENS: tokens}})
        (folder / "trials" / trial.trial_id / "metrics.jsonl").write_text(line + "\n")
    lead = selection_sentences(confirmation(folder))[-1]
    assert "was +220 when it was picked as the best of many, and is +200 after" in lead


def test_points_of_earlier_sweeps_do_not_bring_a_study_to_its_end(tmp_path: Path) -> None:
    before = [point(n, WEIGHTS, values=[0.4], is_from_before=True) for n in (1, 2, 3)]
    write_search(tmp_path / "s", [point(0, values=[0.3]), *before], winner=3, num_trials=4)
    found = confirmation(tmp_path / "s")
    assert found.note == "the study is not through yet."


def test_one_fresh_seed_decides_nothing(tmp_path: Path) -> None:
    found = retrained(tmp_path, 0.6, seeds=(101,))
    assert found.contrasts[0].verdict.word is None
    assert "recipe undecided" in winner_sentences(found)[0]
    assert found.variants[0].sd is None


@pytest.mark.parametrize(
    ("points", "given", "reason"),
    [
        pytest.param(POINTS, {"winner": 1}, "was not trained again", id="none-planned"),
        pytest.param(POINTS, {"winner": 0}, "nothing to confirm", id="the-default-won"),
        pytest.param([point(0, values=None, state="failed")], {}, "no point", id="no-winner"),
        pytest.param(
            POINTS, {"winner": 1, "num_trials": 5}, "not through yet", id="still-searching"
        ),
    ],
)
def test_no_verdict_without_training_again(
    tmp_path: Path,
    points: list[dict[str, Any]],
    given: dict[str, Any],
    reason: str,
) -> None:
    write_search(tmp_path / "s", points, **given)
    found = confirmation(tmp_path / "s")
    assert found.note is not None
    assert reason in found.note
    assert winner_sentences(found) == [f"No verdict on the winner: {found.note}"]

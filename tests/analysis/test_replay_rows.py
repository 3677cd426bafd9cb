"""Whole replays: vectors as they act in a cell, scopes, saturation, and the shipped default."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reward_sweep import Drawn, random_draw, write_reward_sweep

from analysis.replay import (
    SCHEMES,
    SweepMatrices,
    component_phases,
    component_steps,
    constant_sentences,
    farthest_sentence,
    given_vectors,
    read_matrices,
    replay,
    sampled_vectors,
)
from analysis.replay import rows as rows_module
from analysis.replay.rows import ALL_CELLS, MEASURES
from analysis.replay.simplex import sample_simplex
from strictune.config import TrialSpec
from strictune.errors import SpecError

STANDARD = "matrix.curriculum=[standard]"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepMatrices:
    """Two cells, without and with thinking, of two trials each."""
    folder = tmp_path_factory.mktemp("replay") / "s"
    write_reward_sweep(folder, partial(random_draw, num_steps=12), [STANDARD, "matrix.seed=[0, 1]"])
    return read_matrices(folder)


def test_the_default_is_perfectly_correlated_with_itself_in_its_own_scheme(
    sweep: SweepMatrices,
) -> None:
    table = replay(sweep, given_vectors(sweep, {}))
    assert list(table["cell"].unique()) == [*(cell.name for cell in sweep.cells), ALL_CELLS]
    assert len(table) == 3 * len(SCHEMES)
    own = table[table["is_own"]]
    assert len(own) == 3
    assert own["rank_correlation"].to_numpy() == pytest.approx(1)
    assert own["rank_correlation_se"].to_numpy() == pytest.approx(0, abs=1e-7)
    others = table[~table["is_own"]]
    assert (others["rank_correlation"] < 1 - 1e-6).all()
    summed = table[table["multi_objective_aggregation"] == "sum_then_normalize"]
    assert summed["group_rank_correlation"].to_numpy() == pytest.approx(1)
    assert (table["wrong_best_frac"] == 0).all()
    assert (table["tied_best_frac"] == 0).all()


def test_a_row_counts_what_its_means_are_over(sweep: SweepMatrices) -> None:
    table = replay(sweep, given_vectors(sweep, {"schema=1": {"schema": 1.0}}))
    whole = table[table["cell"] == ALL_CELLS]
    assert (whole["num_completions"] == 4 * 12 * 8).all()
    assert (whole["zero_spread_frac_n"] == 4 * 12 * 2).all()
    mixed = sum(
        int((m.is_passing.any(axis=0) & ~m.is_passing.all(axis=0)).sum())
        for cell in sweep.cells
        for m in cell.matrices
    )
    assert (whole["tied_best_frac_n"] == mixed).all()
    cells = table[table["cell"] != ALL_CELLS]
    sums = cells.groupby(["vector", "multi_objective_aggregation", "scale_rewards"])
    assert (sums["zero_spread_frac_n"].sum() == 4 * 12 * 2).all()


def test_a_weight_of_zero_on_what_decides_lets_wrong_answers_tie(sweep: SweepMatrices) -> None:
    tables = {"repetition=1": {"repetition": 1.0}}
    table = replay(sweep, given_vectors(sweep, tables))
    whole = table[(table["cell"] == ALL_CELLS) & (table["scale_rewards"] == "group")]
    default, only = (row for _, row in whole.head(2).iterrows())
    assert (default["tied_best_frac"], default["wrong_best_frac"]) == (0, 0)
    assert only["tied_best_frac"] > 0.2
    assert only["wrong_best_frac"] == 0
    assert only["rung_correlation"] < default["rung_correlation"] - 0.05


def test_weights_act_as_in_training(sweep: SweepMatrices) -> None:
    given = {"reasoning": 0.5, "schema": 0.3, "format": 0.2}
    table = replay(sweep, given_vectors(sweep, {"w": given}), SCHEMES[:1])
    plain, thinking, whole = (row for _, row in table[table["vector"] == "w"].iterrows())
    names = [f"weight/{name}" for name in ("reasoning", "schema", "format", "validity")]
    assert list(plain[names]) == pytest.approx([0, 0.6, 0.4, 0])
    assert list(thinking[names]) == pytest.approx([0.5, 0.3, 0.2, 0])
    assert list(whole[names]) == pytest.approx([0.5, 0.3, 0.2, 0])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        pytest.param({"shema": 1.0}, "Did you mean schema", id="misspelt"),
        pytest.param({"reasoning": 1.0}, "adds up to 0 in the cells without", id="nothing-left"),
        pytest.param({"format": 0.0}, "adds up to 0", id="all-zero"),
    ],
)
def test_weights_that_cannot_be_trained_with_are_refused(
    sweep: SweepMatrices, weights: dict[str, float], message: str
) -> None:
    with pytest.raises(SpecError, match=f"--weights text: .*{message}"):
        given_vectors(sweep, {"text": weights})


def test_samples_lie_on_the_simplex_and_begin_alike() -> None:
    is_active = np.array([True, False, True, True])
    few, more = (sample_simplex(is_active, num_samples=n, seed=3) for n in (100, 4000))
    np.testing.assert_array_equal(few, more[:100])
    assert more.sum(axis=1) == pytest.approx(1)
    assert (more[:, 1] == 0).all()
    # Dirichlet(1) on three: mean 1/3, variance (1/3)(2/3)/4.
    assert more[:, is_active].mean(axis=0) == pytest.approx(1 / 3, abs=0.02)
    assert more[:, is_active].var(axis=0) == pytest.approx(1 / 18, abs=0.005)
    assert (sample_simplex(is_active, num_samples=3, seed=4) != few[:3]).any()


def test_sampled_reasoning_acts_only_with_thinking(sweep: SweepMatrices, tmp_path: Path) -> None:
    reasoning = sweep.components.index("reasoning")
    plain, thinking = (
        sampled_vectors(sweep, num_samples=20, seed=0).by_cell[cell.name] for cell in sweep.cells
    )
    assert (plain[:, reasoning] == 0).all()
    assert (thinking[:, reasoning] > 0).all()
    assert plain.sum(axis=1) == pytest.approx(1)
    write_reward_sweep(tmp_path / "s", random_draw, [STANDARD, "matrix.thinking=[false]"])
    alone = sampled_vectors(read_matrices(tmp_path / "s"), num_samples=20, seed=0)
    assert (alone.given[:, reasoning] == 0).all()


def test_chunks_change_nothing(sweep: SweepMatrices, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = sampled_vectors(sweep, num_samples=7, seed=0)
    order = ["vector", "cell", "multi_objective_aggregation", "scale_rewards"]
    whole = replay(sweep, vectors).sort_values(order, ignore_index=True)
    monkeypatch.setattr(rows_module, "CHUNK_COMPLETIONS", 3 * 4 * 12 * 8)
    parts = replay(sweep, vectors).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(whole, parts)


def test_measures_stay_in_their_ranges(sweep: SweepMatrices) -> None:
    table = replay(sweep, sampled_vectors(sweep, num_samples=30, seed=1))
    assert table[list(MEASURES)].notna().all().all()
    assert table[list(MEASURES)].abs().to_numpy().max() <= 1
    assert table[[f"{name}_se" for name in MEASURES]].to_numpy().min() >= 0
    assert "sample" in farthest_sentence(table)


def draw_flat(trial: TrialSpec) -> Drawn:
    drawn = random_draw(trial, num_steps=8)
    drawn.rewards[...] = 0.25
    drawn.rewards[4:, ::2, 0] = 1.0
    return drawn


def test_saturation_follows_the_steps(tmp_path: Path) -> None:
    overrides = [STANDARD, "matrix.thinking=[true]", "matrix.seed=[0, 1]"]
    write_reward_sweep(tmp_path / "s", draw_flat, overrides)
    sweep = read_matrices(tmp_path / "s")
    (cell,) = sweep.cells
    phases = component_phases(cell)
    first = [row for row in phases if row["component"] == "format"]
    assert [(row["first_step"], row["last_step"]) for row in first] == [
        (1, 2), (3, 4), (5, 6), (7, 8)
    ]  # fmt: skip
    assert [row["at_max_frac"] for row in first] == [0, 0, 0.5, 0.5]
    assert [row["constant_groups_frac"] for row in first] == [1, 1, 0, 0]
    assert [row["num_completions"] for row in first] == [32] * 4
    assert first[0]["std"] == 0
    assert first[3]["std"] == pytest.approx(np.std([1, 0.25] * 16, ddof=1))
    assert all(row["at_max_frac_se"] == 0 for row in phases)
    steps = [row for row in component_steps(cell) if row["component"] == "format"]
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert [row["at_max_frac"] for row in steps] == [0] * 4 + [0.5] * 4
    (sentence,) = [s for s in constant_sentences(sweep, phases) if s.startswith("schema ")]
    assert cell.name in sentence
    assert not any(s.startswith("format ") for s in constant_sentences(sweep, phases))


def test_a_sweep_without_any_spread_has_no_correlation(tmp_path: Path) -> None:
    def draw(trial: TrialSpec) -> Drawn:
        drawn = draw_flat(trial)
        return Drawn(drawn.rewards[:4], drawn.is_passing[:4])

    write_reward_sweep(tmp_path / "s", draw, [STANDARD])
    sweep = read_matrices(tmp_path / "s")
    table = replay(sweep, given_vectors(sweep, {"schema=1": {"schema": 1.0}}))
    assert (table["zero_spread_frac"] == 1).all()
    assert table[["rank_correlation", "group_rank_correlation"]].isna().all().all()
    assert (table["group_rank_correlation_n"] == 0).all()

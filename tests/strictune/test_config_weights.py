from dataclasses import dataclass

import pytest

from strictune.config.weights import active_weights, tied_components, weight_problems


@dataclass(frozen=True)
class Essay:
    """A task with rewards of its own: the platform knows no task by name."""

    components: tuple[str, ...] = ("answer", "plan", "tone")

    def default_weights(self, thinking: bool) -> dict[str, float]:
        return {"answer": 0.5, "plan": 0.3 if thinking else 0.0, "tone": 0.2}

    def decisive_components(self, thinking: bool) -> frozenset[str]:
        return frozenset({"answer", "plan"} if thinking else {"answer"})


def test_a_cell_without_weights_takes_the_tasks_own() -> None:
    weights = active_weights(Essay(), thinking=False, rewards=None, rewards_no_think=None)
    assert weights == {"answer": 0.5, "plan": 0.0, "tone": 0.2}


def test_weights_come_in_report_order_and_left_out_ones_are_zero() -> None:
    given = {"tone": 0.1, "answer": 1.0}
    weights = active_weights(Essay(), thinking=True, rewards=given, rewards_no_think=None)
    assert list(weights.items()) == [("answer", 1.0), ("plan", 0.0), ("tone", 0.1)]


def test_without_thinking_the_thinking_weight_is_shared_out_in_proportion() -> None:
    given = {"answer": 0.3, "plan": 0.5, "tone": 0.2}
    weights = active_weights(Essay(), thinking=False, rewards=given, rewards_no_think=None)
    assert weights == pytest.approx({"answer": 0.6, "plan": 0.0, "tone": 0.4})


def test_weights_for_cells_without_thinking_replace_the_shared_out_ones() -> None:
    weights = active_weights(
        Essay(), thinking=False, rewards={"plan": 1}, rewards_no_think={"answer": 1}
    )
    assert weights == {"answer": 1.0, "plan": 0.0, "tone": 0.0}


def test_tied_components_depend_on_thinking() -> None:
    weights = {"answer": 1.0, "plan": 0.0, "tone": 0.0}
    assert tied_components(Essay(), weights, thinking=True) == ("plan",)
    assert tied_components(Essay(), weights, thinking=False) == ()


@pytest.mark.parametrize(
    ("rewards", "rewards_no_think", "thinking", "expected"),
    [
        pytest.param(None, None, True, [], id="the-tasks-own"),
        pytest.param({"anser": 1}, None, True, [("rewards.anser", "mean answer?")], id="unknown"),
        pytest.param(
            {"answer": 1, "plan": 1},
            {"tune": 1},
            True,
            [("rewards_no_think.tune", "mean tone?")],
            id="unknown-in-the-other-table",
        ),
        pytest.param({"tone": 0}, None, True, [("rewards", "adds up to 0")], id="sum-zero"),
        pytest.param(
            {"plan": 1}, None, False, [("rewards", "without thinking")], id="nothing-to-share-over"
        ),
        pytest.param(
            {"answer": 1, "plan": 0},
            None,
            True,
            [("rewards.plan", "has weight 0, so that")],
            id="decisive-at-zero",
        ),
        pytest.param(
            {"answer": 1},
            None,
            True,
            [("rewards.plan", "is left out, which means weight 0, so that")],
            id="decisive-left-out",
        ),
        pytest.param({"answer": 1}, None, False, [], id="not-decisive-without-thinking"),
        pytest.param(
            {"answer": 1, "plan": 1},
            {"tone": 1},
            False,
            [("rewards_no_think.answer", "allow_ties")],
            id="decisive-at-zero-without-thinking",
        ),
    ],
)
def test_weights_that_cannot_be_trained_are_named(
    rewards: dict[str, float] | None,
    rewards_no_think: dict[str, float] | None,
    thinking: bool,
    expected: list[tuple[str, str]],
) -> None:
    problems = weight_problems(
        Essay(),
        thinking=thinking,
        rewards=rewards,
        rewards_no_think=rewards_no_think,
        allow_ties=False,
    )
    assert [problem.key for problem in problems] == [key for key, _ in expected]
    for problem, (_, part) in zip(problems, expected, strict=True):
        assert part in problem.text


def test_ties_are_allowed_on_request_but_a_sum_of_zero_is_not() -> None:
    def problems(rewards: dict[str, float]) -> list[str]:
        found = weight_problems(
            Essay(), thinking=True, rewards=rewards, rewards_no_think=None, allow_ties=True
        )
        return [problem.text for problem in found]

    assert problems({"tone": 1}) == []
    assert "adds up to 0" in problems({"answer": 0})[0]

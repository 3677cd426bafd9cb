from pathlib import Path
from typing import Any

import pytest

from strictune.config import load_sweep
from strictune.config.loading import apply_overrides, parse_override
from strictune.errors import SpecError


def changed(data: dict[str, Any], *texts: str) -> dict[str, Any]:
    apply_overrides(data, [parse_override(text) for text in texts])
    return data


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        pytest.param("name=x", ("name",), "x", id="top"),
        pytest.param("trial.grpo.beta=1e-3", ("trial", "grpo", "beta"), 1e-3, id="number"),
        pytest.param("grpo.beta=0.02", ("trial", "grpo", "beta"), 0.02, id="trial-left-out"),
        pytest.param("matrix.seed=[0, 1]", ("matrix", "seed"), [0, 1], id="list"),
        pytest.param("trial.lora=", ("trial", "lora"), None, id="empty-is-null"),
        pytest.param("trial.model=a=b", ("trial", "model"), "a=b", id="equals-in-the-value"),
        pytest.param("trial.thinking=no", ("trial", "thinking"), "no", id="no-stays-text"),
    ],
)
def test_overrides_are_dotted_keys_and_yaml(text: str, path: tuple[str, ...], value: Any) -> None:
    override = parse_override(text)
    assert override.path == path
    assert override.value == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("name", "expected KEY=VALUE", id="no-value"),
        pytest.param("=1", "expected KEY=VALUE", id="no-key"),
        pytest.param("trial..x=1", "expected KEY=VALUE", id="empty-part"),
        pytest.param("name=[1", "--set name=\\[1:1: not valid YAML", id="broken-yaml"),
    ],
)
def test_unreadable_overrides_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_override(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["a.b=2"], {"a": {"b": 2, "c": [1, {"d": 1}]}, "n": None}, id="replaced"),
        pytest.param(
            ["n.x.y=2"], {"a": {"b": 1, "c": [1, {"d": 1}]}, "n": {"x": {"y": 2}}}, id="new"
        ),
        pytest.param(
            ["a.c.1.d=2"], {"a": {"b": 1, "c": [1, {"d": 2}]}, "n": None}, id="inside-a-list"
        ),
        pytest.param(["a.c.0=2"], {"a": {"b": 1, "c": [2, {"d": 1}]}, "n": None}, id="list-item"),
        pytest.param(["a=1", "a=2"], {"a": 2, "n": None}, id="the-last-one-wins"),
    ],
)
def test_overrides_lie_on_top_of_the_file(texts: list[str], expected: dict[str, Any]) -> None:
    assert changed({"a": {"b": 1, "c": [1, {"d": 1}]}, "n": None}, *texts) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a.b.c=1", "a.b = 1 has no keys below it", id="below-a-number"),
        pytest.param("a.c.2=1", "2 is not a position in a list of 2, expected 0 to 1", id="beyond"),
        pytest.param("a.c.x=1", "x is not a position", id="name-in-a-list"),
        pytest.param("a.c.-1=1", "-1 is not a position", id="from-the-end"),
        pytest.param("a.e.0=1", "the list before 0 has no positions", id="empty-list"),
        pytest.param(
            "trial.thinking=true",
            "every cell takes thinking from matrix.thinking = .false, true.",
            id="hidden-by-the-matrix",
        ),
        pytest.param("thinking=true", "--only thinking=VALUE", id="hidden-and-abbreviated"),
    ],
)
def test_overrides_that_cannot_act_are_refused(text: str, message: str) -> None:
    data = {"a": {"b": 1, "c": [1, 2], "e": []}, "matrix": {"thinking": [False, True]}}
    with pytest.raises(SpecError, match=message):
        changed(data, text)


def test_an_override_changes_one_of_two_aliases(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        """
name: s
task: {kind: strict_json}
trial:
  model: builtin:tiny
  grpo: {max_steps: 9}
  curricula:
    one: [&stage {name: a, steps_frac: 1, temperature: 1}]
    two: [*stage]
"""
    )
    curricula = load_sweep(path, ["trial.curricula.one.0.temperature=2"]).trial.curricula
    assert (curricula["one"][0].temperature, curricula["two"][0].temperature) == (2, 1)

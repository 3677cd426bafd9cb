"""What the tracking store accepts: flat params, and texts within its limits."""

import pytest

from strictune.tracking import names


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": {"b": 0.5}}, {"a.b": "0.5"}, id="nested"),
        pytest.param({"a": "x"}, {"a": "x"}, id="text"),
        pytest.param({"a": True, "b": None}, {"a": "true", "b": "null"}, id="as-in-yaml"),
        pytest.param({"a": [{"n": 1}]}, {"a": '[{"n": 1}]'}, id="list"),
        pytest.param({"a": {}}, {"a": "{}"}, id="empty"),
        pytest.param({"pass@1": 1}, {"pass_1": "1"}, id="refused-character"),
    ],
)
def test_specs_become_flat_params(value: dict[str, object], expected: dict[str, str]) -> None:
    assert names.flat_params(value) == expected


def test_long_values_are_cut_to_the_stores_limit_and_say_so() -> None:
    (value,) = names.flat_params({"a": "x" * 9000}).values()
    assert len(value) == 6000
    assert value.endswith("[...]")


def test_a_long_table_is_cut_after_a_whole_line_and_says_where_the_rest_is() -> None:
    rows = "".join(f"| {row:04} | better |\n" for row in range(1000))
    description = names.cut_table(rows, source="verdicts.md")
    assert len(description) <= 8000
    *_, last, _, hint = description.split("\n")
    assert last.endswith("| better |")
    assert "`verdicts.md`" in hint
    assert names.cut_table("short", source="verdicts.md") == "short"

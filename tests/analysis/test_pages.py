"""Markdown pages: what names and reasons may not do to them."""

import pytest

from analysis.tables import inline_text, item_lines, table_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("no\n\n  # room", "no # room", id="lines"),
        pytest.param("<b>bold</b> <!-- x", "&lt;b>bold&lt;/b> &lt;!-- x", id="tags"),
        pytest.param("p < 0.05, a <5", "p < 0.05, a <5", id="less-than"),
    ],
)
def test_text_keeps_to_its_line_and_opens_no_tag(text: str, shown: str) -> None:
    assert inline_text(text) == shown
    assert item_lines([text]) == [f"- {shown}"]
    assert table_lines([{"why": text}])[-1] == f"| {shown} |"


def test_a_cell_ends_where_the_table_says() -> None:
    lines = table_lines([{"a|b": "x\n|y", "c": ""}])
    assert lines == ["| a/b | c |", "| --- | --- |", "| x /y |  |"]

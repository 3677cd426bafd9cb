"""Tables as data: what a cell shows, and wide tables of long rows."""

import math

from analysis.measured import Interval
from analysis.tables import Cell, Column, Table, pivot, rate_text, shown, texts

TABLE = Table(
    "t",
    "A table",
    (
        Column("name", "name", str, lambda row: {"trial": row["name"]}),
        Column("rate", lambda row: row["rate"], "{:.0%}".format),
    ),
)


def test_a_column_formats_its_value_and_says_what_was_not_measured() -> None:
    rows = [
        {"name": "a", "rate": 0.5},
        {"name": "b", "rate": None},
        {"name": "c", "rate": math.nan},
    ]
    assert [row["rate"] for row in texts(TABLE, rows)] == ["50%", "-", "-"]


def test_cells_know_where_they_lead() -> None:
    found = shown(TABLE, [{"name": "a", "rate": 0.25}])
    assert (found.title, found.headings) == ("A table", ["name", "rate"])
    assert found.lines == [[Cell("a", {"trial": "a"}), Cell("25%")]]


def test_rows_that_agree_stand_in_one_line() -> None:
    rows = [
        {"tier": tier, "side": side, "n": n} for n, (tier, side) in enumerate(("ax", "ay", "bx"))
    ]
    lines, sides = pivot(rows, ("tier",), "side")
    assert sides == ["x", "y"]
    assert [{side: row["n"] for side, row in line["cells"].items()} for line in lines] == [
        {"x": 0, "y": 1},
        {"x": 2},
    ]


def test_a_rate_without_an_interval_says_so() -> None:
    assert rate_text(Interval(0.412, 0.37, 0.456)) == "41.2% [37.0, 45.6]"
    assert rate_text(Interval(0.412, math.nan, math.nan)) == "41.2% (no interval)"

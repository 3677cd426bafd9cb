"""The tables of one trial as its report shows them: declared columns over the report's rows.

Tables of sides or difficulties are wide: rows that agree on all else stand in one line.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from analysis.fields import FIELDS
from analysis.report.answers import MEASURES
from analysis.tables import (
    Column,
    Row,
    Shown,
    Table,
    effect_in,
    percent,
    pivot,
    rate_in,
    rate_text,
    shown,
)
from analysis.verdicts import effect_text

__all__ = ["trial_tables"]

SIDES = ("baseline", "trained")

_Filters = Callable[[Row], Mapping[str, str]]


def trial_tables(tables: Mapping[str, Sequence[Row]]) -> list[Shown]:
    """Lay out every table of a trial that has rows.

    Args:
        tables: The trial's rows, by the names of ``gathering.TABLES``.
    """
    return [shown(*table_of(tables[name])) for name, table_of in _TABLES.items() if tables[name]]


def _whole(table: Table, rows: Sequence[Row]) -> tuple[Table, Sequence[Row]]:
    return table, rows


def _difficulties(rows: Sequence[Row]) -> tuple[Table, Sequence[Row]]:
    lines, criteria = pivot(rows, ("difficulty", "side"), "criterion")

    def failing(criterion: str) -> _Filters:
        return lambda line: {**_tier(line), "criterion": f"-{criterion}", "side": line["side"]}

    columns = (
        Column(
            "difficulty, side", lambda line: f"{line['difficulty']}, {line['side']}", str, _tier
        ),
        Column("prompts", "num_prompts", str, _tier),
        *(_rate_column(criterion, criterion, failing(criterion)) for criterion in criteria),
    )
    return Table("difficulties", "Criteria by difficulty", columns), lines


def _changes(rows: Sequence[Row]) -> tuple[Table, Sequence[Row]]:
    lines, changes = pivot(rows, ("difficulty",), "change")

    def changed(change: str) -> _Filters:
        return lambda line: {**_tier(line), "change": change}

    columns = (
        Column("difficulty", "difficulty", str, _tier),
        *(Column(name, _part(name), _count_text, changed(name)) for name in changes),
    )
    return Table("changes", "What became of the prompts", columns), lines


def _sided(
    column: str, title: str, filter_name: str, rows: Sequence[Row]
) -> tuple[Table, Sequence[Row]]:
    """Put the sides of each value of a column beside each other."""
    lines, _ = pivot(rows, (column,), "side")

    def following(side: str) -> _Filters:
        of_side = {"side": side} if filter_name == "error" else {}
        return lambda line: {**_of(line), filter_name: line[column], **of_side}

    counted = [Column("prompts", "num_prompts", str, following("trained"))]
    columns = (
        Column(column.replace("_", " "), column, str, following("trained")),
        *(counted if "num_prompts" in rows[0] else ()),
        *(_rate_column(side, side, following(side)) for side in SIDES),
    )
    return Table(column, title, columns), lines


def _by_stage(
    title: str,
    first: Column,
    value: Callable[[Row | None], Any],
    text: Callable[[Any], str],
    rows: Sequence[Row],
) -> tuple[Table, Sequence[Row]]:
    """Put the difficulties of each stage beside each other."""
    lines, tiers = pivot(rows, ("stage",), "difficulty")

    def tier_column(tier: str) -> Column:
        return Column(tier, lambda line: value(line["cells"].get(tier)), text)

    return Table("stages", title, (first, *map(tier_column, tiers))), lines


def _of(line: Row) -> dict[str, str]:
    return {"trial": line["trial_id"]}


def _tier(line: Row) -> dict[str, str]:
    """Filter by a line's difficulty, unless it is about all of them."""
    of_tier = {} if line["difficulty"] == "all" else {"difficulty": line["difficulty"]}
    return {**_of(line), **of_tier}


def _part(name: str) -> Callable[[Row], Row | None]:
    return lambda line: line["cells"].get(name)


def _rate_column(heading: str, name: str, filters: _Filters) -> Column:
    return Column(heading, lambda line: rate_in(line["cells"].get(name)), rate_text, filters)


def _count_text(row: Row) -> str:
    rate = rate_in(row)
    return f"{row['num_prompts']} ({rate_text(rate)})" if rate else str(row["num_prompts"])


def _named(name: str) -> str:
    return name.replace("_", " ")


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):.15g}"


_tokens: Callable[[float], str] = "{:.0f}".format

_LENGTHS = Table(
    "lengths",
    "Completion length",
    (
        Column("tokens of a completion", "side", str, _of),
        *(Column(name, name, _tokens, _of) for name in ("p10", "p25", "p50", "p75", "p90", "mean")),
        Column("truncated", "truncated", percent, _of),
    ),
)
_PARTS = Table(
    "parts",
    "Parts of the reward in training",
    (
        Column("part of the reward", "part"),
        Column("groups", "num_groups"),
        Column("first third", "first", "{:.2f}".format),
        Column("last third", "last", "{:.2f}".format),
        Column("groups without spread", "flat_frac", percent),
    ),
)
_JUDGE = Table(
    "judge",
    "The judge in training",
    (
        Column("judge, by step", "fact", _named),
        *(Column(name, name, _three_digits) for name in ("mean", "largest", "total")),
    ),
)
_STAGE = Column("stage, validation split", lambda row: f"{row['stage']} (to step {row['step']})")
_STAGE_BEFORE = Column(
    "stage, validation split", lambda row: f"{row['stage']} minus the stage before"
)

_TABLES: Mapping[str, Callable[[Sequence[Row]], tuple[Table, Sequence[Row]]]] = {
    "difficulties": _difficulties,
    "changes": _changes,
    "error_classes": partial(_sided, "error_class", "Error classes, share of completions", "error"),
    "constructs": partial(_sided, "construct", "Primary criterion by construct", "construct"),
    "measures": partial(_whole, MEASURES),
    "fields": partial(_whole, FIELDS),
    "parts": partial(_whole, _PARTS),
    "judge": partial(_whole, _JUDGE),
    "lengths": partial(_whole, _LENGTHS),
    "stages": partial(_by_stage, "Primary criterion after each stage", _STAGE, rate_in, rate_text),
    "stage_differences": partial(
        _by_stage, "Stage against stage, exploratory", _STAGE_BEFORE, effect_in, effect_text
    ),
}
"""By the name of their rows, in the order of the page."""

"""Draws a snapshot of a sweep: a header, a row for each trial, and what went wrong in full.

The table fits the terminal: columns that matter least go first, and where not every trial has
a line, those at work and those that failed are shown.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from strictune.watch import SweepSnapshot, TrialRow

__all__ = ["WatchTable", "duration", "sparkline"]

GAP = 2
"""Blank columns between two columns of the table."""
MIN_TRIAL_WIDTH = 20
HASH_CHARS = 9
"""A trial's id ends with a dash and eight digits."""
MAX_DEAR_RANK = 3
"""Ids are shortened rather than columns up to this rank dropped."""
MAX_SPARKS = 12
SPARKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ELLIPSIS = "\u2026"
SILENT_STEPS, SILENT_S = 20, 300.0
"""A trial that has trained nothing for the time of so many steps, and for so long, is suspect."""

STATE_STYLES = {
    "training": "cyan",
    "evaluating": "cyan",
    "starting": "cyan",
    "FAILED": "bold red",
    "UNREADABLE": "bold red",
    "interrupted": "yellow",
    "KILLED": "yellow",
    "FINISHED": "green",
    "waiting": "dim",
}
"""In the order in which trials get a line where there is not room for all."""
SWEEP_STYLES = {"running": "cyan", "stopped": "bold yellow", "ended": "green"}


class Column(NamedTuple):
    """One column of the table."""

    heading: str
    text: Callable[[TrialRow], str]
    justify: Literal["left", "right"] = "right"
    rank: int = 0
    """Where the terminal is narrow, the highest goes first; 0 stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTable:
    """A snapshot of a sweep, to be printed by rich."""

    snapshot: SweepSnapshot
    now: float
    """In seconds since the epoch."""
    is_bounded: bool
    """Whether it must fit the height of the terminal."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield what is printed, for the width and height at hand."""
        width, height = options.max_width, options.height or console.height
        rows = sorted(self.snapshot.trials, key=_urgency)
        header = list(self._header().wrap(console, width))
        reasons = [
            line
            for row in rows
            if (reason := self._reason(row))
            for line in reason.wrap(console, width)
        ]
        num_rows = len(rows)
        if self.is_bounded:
            reasons = reasons[: height // 4]
            # Others take: a blank line, the headings, and the count of what is left out.
            num_rows = max(1, height - len(header) - len(reasons) - 3)
        hidden = rows[num_rows:]
        yield from header
        yield Text()
        yield self._table(rows[:num_rows] if hidden else self.snapshot.trials, width)
        if hidden:
            yield Text(f"{ELLIPSIS} and {len(hidden)} more: {_counts(hidden)}", style="dim")
        yield from reasons

    def _header(self) -> Text:
        snapshot = self.snapshot
        header = Text.assemble(
            (snapshot.sweep, "bold"),
            ": ",
            (snapshot.state, SWEEP_STYLES[snapshot.state]),
            f" ({snapshot.why}). {len(snapshot.trials)} trials: {_counts(snapshot.trials)}.",
        )
        if snapshot.resume:
            header.append(f"\nContinue with: {snapshot.resume}", style="yellow")
        if snapshot.state == "running" and not any(row.updated for row in snapshot.trials):
            header.append("\nNo trial has started yet: Ray and the baselines come first.")
        return header

    def _columns(self) -> list[Column]:
        snapshot = self.snapshot
        scale = max((found.frac for row in snapshot.trials for found in row.held_out), default=0.0)
        return [
            Column("trial", lambda row: row.trial_id, "left"),
            Column("cell", lambda row: row.cell, "left", 7),
            Column("state", lambda row: row.state, "left"),
            Column("step", _steps),
            Column("reward", lambda row: _number(row.reward, ".2f"), rank=2),
            Column(
                f"held-out {snapshot.primary_criterion}",
                lambda row: _held_out(row, scale),
                "left",
                rank=1,
            ),
            Column("tokens/s", lambda row: _number(row.tokens_per_s, ",.0f"), rank=5),
            Column("GiB", lambda row: _number(row.peak_gib, ".1f"), rank=6),
            Column("time left", lambda row: duration(row.time_left_s), rank=3),
            Column("retries", lambda row: _number(row.num_retries, "d"), rank=4),
        ]

    def _table(self, rows: Sequence[TrialRow], width: int) -> Table:
        columns, trial_width = _fit(self._columns(), self.snapshot.trials, width=width)
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.heading, justify=column.justify, no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(column, row, trial_width) for column in columns))
        return table

    def _reason(self, row: TrialRow) -> Text:
        """Return what is wrong with a trial, empty if nothing is."""
        reason = " ".join((row.reason or "").split())
        if row.state == "training" and row.updated is not None:
            silent_s = self.now - row.updated
            if silent_s > max(SILENT_S, SILENT_STEPS * (row.step_s or 0)):
                reason = f"silent for {duration(silent_s)}"
        if not reason:
            return Text()
        style = STATE_STYLES.get(row.state, "")
        return Text.assemble(f"{row.name}, ", (row.state, style), f": {reason}")


def duration(seconds: float | None) -> str:
    """Return e.g. ``40 s``, ``12 min``, ``3 h 05 min`` or ``2 d 4 h``; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def sparkline(values: Sequence[float], *, scale: float) -> str:
    """Return one block a value, from 0 to ``scale``; of many values the last ones."""
    top = len(SPARKS) - 1
    return "".join(
        SPARKS[round(top * value / scale) if scale else 0] for value in values[-MAX_SPARKS:]
    )


def _fit(
    columns: Sequence[Column], rows: Sequence[TrialRow], *, width: int
) -> tuple[Sequence[Column], int]:
    """Drop columns, and shorten the trials' ids, until the rest fits.

    Returns:
        The columns that are left, and the width of the trials' ids.
    """
    texts = {column.heading: [column.text(row) for row in rows] for column in columns}
    kept = [column for column in columns if any(texts[column.heading])]
    widths = {heading: max(map(cell_len, [heading, *texts[heading]])) for heading in texts}
    num_spare = max(0, widths["trial"] - MIN_TRIAL_WIDTH)
    while True:
        left = width + GAP - sum(widths[column.heading] + GAP for column in kept)
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0 or left + (num_spare if last.rank <= MAX_DEAR_RANK else 0) >= 0:
            return kept, widths["trial"] + min(0, left)
        kept.remove(last)


def _cell(column: Column, row: TrialRow, trial_width: int) -> Text:
    if column.heading == "trial":
        return Text(_without_middle(row.trial_id, width=trial_width))
    style = STATE_STYLES.get(row.state, "") if column.heading == "state" else ""
    return Text(column.text(row), style)


def _without_middle(text: str, *, width: int) -> str:
    """Shorten a trial's id to what tells it from others: its beginning and its hash."""
    if len(text) <= width:
        return text
    end = text[-HASH_CHARS:]
    return text[: max(0, width - len(end) - 1)] + ELLIPSIS + end


def _urgency(row: TrialRow) -> int:
    states = list(STATE_STYLES)
    return states.index(row.state) if row.state in states else states.index("FINISHED")


def _counts(rows: Sequence[TrialRow]) -> str:
    counted = Counter(row.state for row in sorted(rows, key=_urgency))
    return ", ".join(f"{number} {state}" for state, number in counted.items())


def _steps(row: TrialRow) -> str:
    return f"{row.step}/{row.num_steps}" if row.num_steps else str(row.step)


def _held_out(row: TrialRow, scale: float) -> str:
    if row.held_out_frac is None:
        return ""
    sparks = sparkline([found.frac for found in row.held_out], scale=scale)
    return f"{row.held_out_frac:6.1%} {sparks}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)

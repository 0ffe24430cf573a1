"""How results look: JSON for scripts, Rich for people; standard output has nothing else."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import TextIO

    from rich.console import RenderableType


_FRACTION = re.compile(r"(?<=T[0-9]{2}:[0-9]{2}:[0-9]{2})\.[0-9]+")
_KEY = re.compile(r"([a-z][a-z0-9]{0,15}_[a-z][a-z0-9]{0,15}_[0-9A-Za-z]{4})[0-9A-Za-z]{34}")


class Whole(str):
    """Text to copy: it is printed as one line, however long."""

    __slots__ = ()


class Output:
    """Where a command prints: results on standard output, everything else on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        """Print JSON for scripts, or text for people."""
        self.as_json = as_json
        self._warnings: list[str] = []

    def result(self, data: object, *shown: RenderableType) -> None:
        """Print ``data`` as JSON to scripts, and what is ``shown`` to people.

        An object has a member ``warnings``: all that people were warned of before.
        """
        if self.as_json:
            if isinstance(data, dict):
                data = {"warnings": self._warnings, **cast("dict[str, object]", data)}
            sys.stdout.write(json.dumps(data, indent=2) + "\n")
        else:
            screen = console(sys.stdout)
            for each in shown:
                text = visible(each) if isinstance(each, str) else each
                screen.print(text, soft_wrap=isinstance(each, Whole))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a remark for people on standard error; scripts see nothing of it."""
        if not self.as_json:
            console(sys.stderr).print(visible(text), style="dim", soft_wrap=True)

    def warn(self, text: str) -> None:
        """Warn people on standard error now, and scripts in the result."""
        self._warnings.append(text)
        if not self.as_json:
            console(sys.stderr).print(f"warning: {visible(text)}", style="yellow", soft_wrap=True)

    def error(self, data: dict[str, object]) -> None:
        """Print an error: one line, or one object, and never a key that somebody typed."""
        told = {name: _hidden(value) for name, value in data.items()}
        if self.as_json:
            sys.stderr.write(json.dumps({"error": told}) + "\n")
        else:
            line = " ".join(f"error: {told['message']}".split())
            console(sys.stderr).print(visible(line), style="red", soft_wrap=True)


def _hidden(value: object) -> object:
    return _KEY.sub(r"\1...", value) if isinstance(value, str) else value


def console(file: TextIO) -> Console:
    """Return a console that prints text unchanged: neither markup nor emoji names are read."""
    return Console(file=file, markup=False, emoji=False, highlight=False)


def visible(text: str) -> str:
    """Return text in which every character can be seen, so that none steers the terminal."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    whole: Sequence[str] = (),
    gap: int = 2,
    last_cut: bool = False,
) -> Table:
    """Return a table that fits the terminal, or 80 columns where there is none.

    Cells are folded, except in columns that stay ``whole``; with ``last_cut`` nothing is folded,
    and the last column takes what room there is.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    if last_cut:
        room = console(sys.stdout).width - sum(widths[:-1]) - gap * (len(columns) - 1)
        widths[-1] = max(min(room, widths[-1]), len(columns[-1]))
    made = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), show_edge=False, pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        kept = last_cut or column in whole
        made.add_column(
            column, no_wrap=kept, overflow="fold", width=width if kept else None, min_width=6
        )
    for row in cells:
        row[-1] = cut(row[-1], widths[-1])
        made.add_row(*(Text(cell) for cell in row))
    return made


def cut(text: str, width: int) -> str:
    """Return text that takes at most ``width`` columns, with an ellipsis where it was cut."""
    shortened = Text(visible(text))
    shortened.truncate(width, overflow="ellipsis")
    return shortened.plain


def card(pairs: Iterable[tuple[str, str | None]]) -> Table:
    """Return names and values in two columns; a pair without a value is left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(name, Text(visible(value)))
    return made


def to_seconds(text: str) -> str:
    """Return text with the fractions of a second cut off its moments."""
    return _FRACTION.sub("", text)


def moment(value: datetime | None) -> str | None:
    """Return a moment as RFC 3339 text in UTC, to the second."""
    return (
        None if value is None else value.replace(microsecond=0).isoformat().replace("+00:00", "Z")
    )


def deadline(value: datetime | None) -> str | None:
    """Return a moment as ``moment`` does, but never an earlier one: the next whole second."""
    return moment(None if value is None else value + timedelta(microseconds=999_999))

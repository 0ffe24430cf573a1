"""Tables of what servers made of requests: for a test that fails, and for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.wire.connections import Answer


def lines_of(answers: Mapping[str, Answer]) -> str:
    """Return what every server answered to one request, and what it handed over."""
    return "\n".join(f"{name:<20} {answer}   {handed(answer)}" for name, answer in answers.items())


def handed(answer: Answer) -> str:
    """Return what a server handed over, in short."""
    seen = answer.seen
    if seen is None:
        return "nothing"
    fields = ("authorization", "host")
    values = [
        f"{field}={value!r}"
        for name, value in seen["headers"]
        for field in fields
        if name.lower().removeprefix("http_") == field
    ]
    return " ".join((seen["method"], repr(seen["path"]), *values))


def table_of(recorded: Mapping[str, Mapping[str, Answer]]) -> str:
    """Return a table in Markdown: a row for each case, a column for each server."""
    names = list(next(iter(recorded.values()), {}))
    rows = ["| request | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case, answers in recorded.items():
        cells = (f"{answers[name]}: {handed(answers[name])}".replace("|", "\\|") for name in names)
        rows.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"

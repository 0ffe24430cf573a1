"""What a command ends with: one table of exit statuses, and one line for each error."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from keybound.core.errors import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    KeyboundError,
    MissingExtraError,
    NotFoundError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class Exit(IntEnum):
    """Every exit status there is; scripts rely on them."""

    DONE = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    STORE = 5


MEANINGS: Mapping[Exit, str] = {
    Exit.DONE: "done, or allowed",
    Exit.NO: "the answer is no: refused, beyond a ceiling, not confirmed, a check failed",
    Exit.USAGE: "wrong usage, input or settings",
    Exit.NOT_FOUND: "no such key or group",
    Exit.CONFLICT: "somebody else changed it first",
    Exit.STORE: "the store is missing, unreachable or damaged",
}

_KINDS: tuple[tuple[type[Exception], str, Exit], ...] = (
    (NotFoundError, "not_found", Exit.NOT_FOUND),
    (ConflictError, "conflict", Exit.CONFLICT),
    (StoreError, "store", Exit.STORE),
    (ExceedsCeilingError, "exceeds_ceiling", Exit.NO),
    (InputError, "input", Exit.USAGE),
    (MissingExtraError, "missing_extra", Exit.USAGE),
    (KeyboundError, "input", Exit.USAGE),
)
"""The first class that an error belongs to decides."""


class Ended(Exception):  # noqa: N818 - no error: a command that is over and has said so
    """Ends a command that has printed its answer, with a status other than 0."""

    def __init__(self, status: Exit) -> None:
        """Keep the status that the process is to end with."""
        self.status = status
        super().__init__(status.name)


def status_of(error: KeyboundError) -> Exit:
    """Return the exit status of an error."""
    return _row(error)[1]


def as_data(error: KeyboundError) -> dict[str, object]:
    """Return an error for scripts; ``field`` and ``fix`` are there where it is about input."""
    kind, status = _row(error)
    data: dict[str, object] = {"kind": kind, "message": str(error), "exit": int(status)}
    if isinstance(error, InputError):
        data |= {"field": error.field, "problem": error.problem, "fix": error.fix}
    return data


def _row(error: KeyboundError) -> tuple[str, Exit]:
    return next((kind, status) for known, kind, status in _KINDS if isinstance(error, known))

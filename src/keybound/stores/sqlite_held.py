"""Which files a connection to SQLite has open, and whether they are still those of its path.

A file that is deleted or replaced lives on for who has it open. Syncs would succeed there for
ever, and no revocation would be seen again; so every transaction compares before it begins. While
a connection has its files open nobody else gets their numbers, so equal numbers mean equal files.
"""

from __future__ import annotations

import os
from typing import NamedTuple, TypeAlias

from keybound.core.errors import StoreUnavailableError

Identity: TypeAlias = tuple[int, int]
"""Device and number of a file."""


class Files(NamedTuple):
    """The database, its write-ahead log and the index of that (``-shm``); ``None``: not there.

    ``real`` is where links lead: beside that SQLite keeps the other two.
    """

    real: str
    main: Identity | None
    wal: Identity | None
    shm: Identity | None


def look(path: str, *, real: str | None = None) -> Files:
    """Return the files that a path stands for now; about 3 us with ``real``.

    Raises ``OSError`` when that cannot be told.
    """
    real = os.path.realpath(path) if real is None else real
    return Files(real, _identity(path), _identity(f"{real}-wal"), _identity(f"{real}-shm"))


def same_or_grown(before: Files, after: Files) -> bool:
    """Return whether all that was there still is; a log may have come into being."""
    return (
        before.main == after.main
        and before.wal in {None, after.wal}
        and before.shm in {None, after.shm}
    )


def is_current(held: Files, path: str) -> bool:
    """Return whether a connection that has these files open may be used; if not, make it anew.

    Raises ``StoreUnavailableError`` where that would lose or mix what was written. The connection
    must stay open then: it goes on when its files are put back.
    """
    now = look(path, real=held.real)
    if now == held:
        return True
    if now.main is None:
        raise StoreUnavailableError(f"{path}: {_VANISHED}")
    if now.main == held.main:
        if not same_or_grown(held, now):
            raise StoreUnavailableError(f"{path}: {_LOG_MOVED.format(held.real)}")
        return False  # it was opened before there was a log, and must not write past it
    now = look(path)  # a link may lead elsewhere
    if {now.wal, now.shm} & ({held.wal, held.shm} - {None}):
        raise StoreUnavailableError(f"{path}: {_LOG_LEFT.format(now.real)}")
    return False


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs as much again
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_VANISHED = (
    "vanished while it was in use (deleted, moved or not mounted any more): put it back, or "
    "restore a backup of it; until then nothing is read or changed"
)
_LOG_MOVED = (
    "its log {0}-wal or {0}-shm was deleted, moved or exchanged while in use: put both back, or "
    "stop every program that uses the file and then restore a backup of it"
)
_LOG_LEFT = (
    "was replaced, but {0}-wal or {0}-shm beside it is of the file before and would damage this "
    "one: delete both, then check that the file is the one you want"
)

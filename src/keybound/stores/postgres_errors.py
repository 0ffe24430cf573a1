"""What goes wrong with PostgreSQL, as one table: what it is for us, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import Error
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from keybound.core.errors import ConflictError, StoreBusyError, StoreError, StoreUnavailableError
from keybound.stores.postgres_link import AnswerTimeoutError
from keybound.stores.rules import not_opened

if TYPE_CHECKING:
    from keybound.core.errors import KeyboundError

ELSEWHERE = "or name another database with the setting `database` (KEYBOUND_DATABASE)"

_UNDEFINED_TABLE = "42P01"


def explained(location: str, error: BaseException) -> KeyboundError:
    """Return what to do about an error; its own text may hold anything and stays its cause."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    if isinstance(cause, NoResultFound) or state == _UNDEFINED_TABLE:
        return not_opened(location)
    kind, advice = _found(cause, state)
    return kind(f"{location}: {advice} ({_name(cause, state)})")


def _found(cause: BaseException | None, state: str | None) -> tuple[type[KeyboundError], str]:
    for known, found in _BY_CLASS.items():
        if isinstance(cause, known):
            return found
    if state is not None:
        general = _BY_STATE.get(state[:2], (StoreUnavailableError, "did not answer"))
        return _BY_STATE.get(state, general)
    # Who gets no connection is told by the server in words alone.
    text = str(cause) if isinstance(cause, Error) else ""
    for said, advice in _BY_TEXT.items():
        if said in text:
            return StoreUnavailableError, advice
    return StoreUnavailableError, _UNREACHABLE


def _name(cause: BaseException | None, state: str | None) -> str:
    name = type(cause).__name__
    return name if state is None else f"{name}, SQLSTATE {state}"


_UNREACHABLE = (
    "cannot be reached: start the server, check host, port, user and database of the setting "
    "`database` and the network between"
)
_FULL = "the server has no connection to spare: lower store_connections, or raise max_connections"
_STARTING = "the server is starting, stopping or recovering: it may answer soon"
_LOCKED = (
    "another program keeps a lock for too long: end what holds it (see pg_stat_activity), such as "
    "a psql in the middle of a transaction"
)
_READ_ONLY = (
    "takes no changes (it is a standby or was made read-only): name the primary, or name all "
    "hosts and leave target_session_attrs out"
)
_RIGHTS = (
    "this user lacks a right: as the owner of the database run `keybound db upgrade`, and GRANT "
    "SELECT, INSERT, UPDATE, DELETE on the tables keybound_... to this user"
)
_LOGIN = (
    "the server refused user or password, or pg_hba.conf refuses this host: correct the setting "
    "`database` (KEYBOUND_DATABASE), or the server"
)
_OTHER_TABLES = (
    "its tables keybound_... are not those that keybound made: restore a backup of them, "
    + ELSEWHERE
)
_NO_SCHEMA = (
    "there is no schema for tables: make the one that search_path names, or grant USAGE on it"
)
_POOLER = (
    "a pooler in between does not hand on the limits of our waiting: name the server itself, whose "
    "connections are pooled here"
)
_NO_DATABASE = f"there is no such database: create it, {ELSEWHERE}"

_BY_CLASS: dict[type[BaseException], tuple[type[KeyboundError], str]] = {
    AnswerTimeoutError: (
        StoreUnavailableError,
        "did not answer in time: the server hangs, or the network loses everything",
    ),
    PoolTimeoutError: (
        StoreBusyError,
        "all connections of this process are busy: the server is slow, or raise store_connections",
    ),
}

_BY_STATE: dict[str, tuple[type[KeyboundError], str]] = {
    "08": (StoreUnavailableError, _UNREACHABLE),
    "23505": (ConflictError, "something else took the same id or digest: make the change again"),
    "25006": (StoreUnavailableError, _READ_ONLY),
    "25P03": (StoreUnavailableError, "a change was ended because it did not go on: make it again"),
    "28": (StoreUnavailableError, _LOGIN),
    "3D": (StoreUnavailableError, _NO_DATABASE),
    "3F": (StoreUnavailableError, _NO_SCHEMA),
    "40": (ConflictError, "something else was changed at the same time: make the change again"),
    "42501": (StoreUnavailableError, _RIGHTS),
    "42": (StoreError, _OTHER_TABLES),
    "53100": (StoreUnavailableError, "the disk of the server is full: make room"),
    "53300": (StoreUnavailableError, _FULL),
    "55P03": (StoreUnavailableError, _LOCKED),
    "57014": (StoreUnavailableError, "the server took too long, or somebody cancelled it"),
    "57": (StoreUnavailableError, _STARTING),
    "XX": (StoreError, "is damaged: restore a backup of it"),
}
"""By SQLSTATE, or by its class where all of it means the same."""

_BY_TEXT: dict[str, str] = {
    "unsupported startup parameter": _POOLER,
    "password authentication failed": _LOGIN,
    "no password supplied": _LOGIN,
    "authentication failed": _LOGIN,
    "pg_hba.conf": _LOGIN,
    "is not permitted to log in": _LOGIN,
    "permission denied for database": _RIGHTS,
    "too many": _FULL,
    "remaining connection slots": _FULL,
    "is starting up": _STARTING,
    "is shutting down": _STARTING,
    "in recovery mode": _STARTING,
    "not yet accepting connections": _STARTING,
    "session is read-only": _READ_ONLY,
    "server is in hot standby": _READ_ONLY,
    'database "': _NO_DATABASE,
    'role "': _LOGIN,
}
"""The first that the server's words contain. In another language, the general advice is given."""

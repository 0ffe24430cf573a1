"""PostgreSQL's own ways: which server, how long to wait for it, and what its errors mean.

Only the primary is asked: a standby may be behind, and would not know of a revocation.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from psycopg import Error
from sqlalchemy import create_engine, event

from keybound.core.errors import StoreUnavailableError
from keybound.locks import replaced
from keybound.stores.databases import Purpose
from keybound.stores.postgres_errors import ELSEWHERE, explained
from keybound.stores.postgres_link import Link
from keybound.stores.postgres_url import parse, place

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from sqlalchemy import Connection, Engine

    from keybound.core.errors import KeyboundError

logger = logging.getLogger("keybound")

CONNECT_FOR = 2
"""Seconds until a server that does not answer is given up, for each host; libpq has no less. How
long the system looks for the address of a name is up to its resolver."""

READ_FOR = 1.0
"""Seconds that a sync or a load may take in the server. Each is a look at a few rows by their keys;
who waits longer holds up requests, and the lease of ``revoke_within`` (5 s) runs meanwhile."""

CHANGE_FOR = 5.0
"""Seconds that one statement of a change may take in the server, waiting for its turn included."""

BUILD_FOR = 600.0
"""Seconds that one statement of a migration may take, and that it waits for another migration."""

TURN_FOR = 4.0
"""Seconds that a change waits for its turn, which is the lock on the counter row. A migration that
waits for a table keeps everybody else waiting for it, so it gives up as soon."""

COUNT_TURN_FOR = 0.5
"""Seconds that numbers of uses wait for those of another process, which take milliseconds."""

LOCK_SHARE = 0.8
"""How much of its time a statement may wait for a lock: so it is said that it was a lock."""

IDLE_FOR = 2.0
"""Seconds until the server ends a change that does not go on. Between its statements lie
microseconds: who needs longer was stopped, and others wait for their turn (``TURN_FOR``)."""

ANSWER_FOR = 0.5
"""Seconds that we wait longer than the server was told to work: for one that hangs, or whose
network swallows everything, no limit in the server helps."""

BUILD_LOCK = 0x6B65_7962_6F75_6E64
"""The number of the advisory lock under which tables are made and migrated: "keybound"."""

_WORK_FOR = {
    Purpose.LOOK: READ_FOR,
    Purpose.READ: READ_FOR,
    Purpose.CHANGE: CHANGE_FOR,
    Purpose.COUNT: CHANGE_FOR,
    Purpose.BUILD: BUILD_FOR,
}
_BEGIN_CHANGE = "BEGIN ISOLATION LEVEL READ COMMITTED"

# A commit that is answered must outlive a crash: a revocation would be undone.
_DURABLE = """
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""
_IN_RECOVERY = "SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END"
_STANDBY = "in_hot_standby"


class PostgresServer:
    """A database of a server, or of the primary among several. Making one opens nothing."""

    begins: Mapping[Purpose, tuple[str, ...]] = MappingProxyType(
        {
            Purpose.LOOK: (),
            Purpose.READ: ("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
            # Who waited for the counter row sees what the one before committed.
            Purpose.CHANGE: (_BEGIN_CHANGE,),
            # A change of this process waits for it, so that it must not wait for long itself.
            Purpose.COUNT: (
                _BEGIN_CHANGE,
                f"SET LOCAL lock_timeout = {COUNT_TURN_FOR * 1000:.0f}",
                "SET LOCAL synchronous_commit = off",
            ),
            Purpose.BUILD: (
                _BEGIN_CHANGE,
                "SET LOCAL lock_timeout = 0",  # for whoever builds at the same time
                f"SELECT pg_advisory_xact_lock({BUILD_LOCK})",
                f"SET LOCAL lock_timeout = {TURN_FOR * 1000:.0f}",
            ),
        }
    )
    elsewhere = ELSEWHERE
    shared = True
    forks = True
    hangs = True

    def __init__(self, database: str) -> None:
        """Take a ``postgresql://`` URL as libpq reads it. Raises ``SettingsError``."""
        self._parameters = parse(database)
        self.location = place(self._parameters)

    def engine(self, purpose: Purpose, *, connections: int) -> Engine:
        """Return an engine that opens connections to the primary, with limits on every wait."""
        work_for = _WORK_FOR[purpose]
        reading = purpose in {Purpose.LOOK, Purpose.READ}
        parameters = _DEFAULTS | self._parameters
        limits = {
            "statement_timeout": work_for,
            "lock_timeout": min(work_for * LOCK_SHARE, TURN_FOR),
            "idle_in_transaction_session_timeout": IDLE_FOR,
        }
        options = [f"-c {name}={seconds * 1000:.0f}" for name, seconds in limits.items()]
        options += [f"-c {each}" for each in _SESSION]
        # What the user chose stands after ours, and so wins.
        parameters["options"] = " ".join([*options, self._parameters.get("options", "")]).strip()
        dial = _dialer(parameters)

        engine = create_engine(
            "postgresql+psycopg://",
            hide_parameters=True,  # digests are nobody's business
            max_overflow=0,
            pool_size=connections,
            pool_timeout=work_for,
            use_native_hstore=False,  # which would be asked about
        )

        @event.listens_for(engine, "do_connect")
        def connect(
            _dialect: object, _record: object, _arguments: object, given: dict[str, Any]
        ) -> Link:
            try:
                link = dial(given)
            except Error as error:  # what shows the variables of a traceback would show a password
                raise error.with_traceback(None) from None
            try:
                link.answer_for = work_for + ANSWER_FOR
                if not reading:
                    link.execute(_DURABLE)
            except BaseException:
                link.close()  # the pool does not know of it yet
                raise
            if replaced():
                logger.warning(_REPLACED)
            return link

        return engine

    @contextmanager
    def connection(self, engine: Engine) -> Generator[Connection]:
        """Lend a connection to the primary; raises ``StoreUnavailableError`` for a standby."""
        with engine.connect() as connection:
            link: Any = connection.connection.driver_connection
            standby = link.info.parameter_status(_STANDBY)  # which the server keeps up to date
            if standby is None:  # something in between does not hand it on
                with connection.begin():
                    standby = connection.exec_driver_sql(_IN_RECOVERY).scalar_one()
            if standby != "off":
                connection.invalidate()
                msg = f"{self.location}: is a standby, which may not know yet what was revoked: "
                msg += "name the primary, or name all hosts and leave target_session_attrs out"
                raise StoreUnavailableError(msg)
            yield connection

    def create(self) -> None:
        """Leave it to whoever runs the server: a database is made with an owner and rights."""

    def prepare(self, connection: Connection) -> None:
        """Do nothing: tables can be made in any database."""

    def check_kept(self, connection: Connection) -> None:
        """Do nothing: what the primary committed it keeps."""

    def explained(self, error: BaseException) -> KeyboundError:
        """Return what to do about an error; its own text stays its cause."""
        return explained(self.location, error)


def _dialer(parameters: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Link]:
    """Return what connects: the URL of an engine may be shown, and so has no password in it."""

    def dial(given: Mapping[str, Any]) -> Link:
        options: dict[str, Any] = {**given, **parameters, "autocommit": True}
        return Link.connect(**options)

    return dial


_REPLACED = (
    "while one greenlet connects to PostgreSQL, no other runs in its process: let gevent patch "
    "before anything else is imported (with gunicorn --preload: at the top of gunicorn.conf.py)"
)
_SESSION = (
    r"default_transaction_isolation=read\ committed",
    # All that is asked are look-ups by keys. What a planner makes of tables that it last saw when
    # they were empty takes 100 ms in a store of 300,000 keys, and is kept with the statement.
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "enable_seqscan=off",
    "jit=off",
)
_DEFAULTS = {
    "connect_timeout": str(CONNECT_FOR),
    "application_name": "keybound",
    # A primary that was made read-only is one that was replaced: it knows no revocation either.
    "target_session_attrs": "read-write",
    # A connection over which nothing comes back is given up by the system, too.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
}

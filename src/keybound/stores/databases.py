"""What a SQL store needs of a database: the port that ``SQLiteFile`` and ``PostgresServer`` have.

What an effect means, the tables and their migrations are written once, for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

    from keybound.core.errors import KeyboundError


class Purpose(Enum):
    """What a transaction is for, and so how it begins."""

    LOOK = auto()
    """One statement that reads; it is a snapshot by itself."""

    READ = auto()
    """Several statements that read, all of them from one snapshot."""

    CHANGE = auto()
    """Statements that write. The first of them waits for whoever else writes."""

    COUNT = auto()
    """Adding to numbers that nobody decides on: quickly given up, and lost in a crash."""

    BUILD = auto()
    """Making or migrating tables, while nobody else does."""


class Database(Protocol):
    """One kind of database, and where it is. Making one opens nothing."""

    location: str
    """Where it is, as people are told: an absolute path, or a URL without password."""

    elsewhere: str
    """What to do about a database that is of no use, as the end of an error."""

    begins: Mapping[Purpose, tuple[str, ...]]
    """The statements with which transactions begin; none: every statement is one by itself."""

    shared: bool
    """Whether other programs may have tables in it as well."""

    forks: bool
    """Whether a connection outlives a fork in the parent; in the child none is ever touched."""

    hangs: bool
    """Whether a question may wait for a network or another machine: syncs then have a connection
    of their own. A file is known best by the connections that have it open."""

    @abstractmethod
    def engine(self, purpose: Purpose, *, connections: int) -> Engine:
        """Return an engine with at most so many connections, none of them open yet.

        They begin no transaction of their own, and wait as long as the purpose allows.
        """
        ...

    @abstractmethod
    def connection(self, engine: Engine) -> AbstractContextManager[Connection]:
        """Lend a connection to what is the database now. Raises ``StoreUnavailableError``."""
        ...

    @abstractmethod
    def create(self) -> None:
        """Make the place for tables, if that is ours to make and it is missing."""
        ...

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """Make a database ready for the tables that are made next."""
        ...

    @abstractmethod
    def check_kept(self, connection: Connection) -> None:
        """Raise ``StoreUnavailableError`` unless what was just committed is there to stay."""
        ...

    @abstractmethod
    def explained(self, error: BaseException) -> KeyboundError:
        """Return what to do about an error of the driver, of SQLAlchemy or of the system.

        The error's own text may hold anything and stays its cause.
        """
        ...

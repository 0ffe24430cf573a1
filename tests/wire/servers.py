"""The servers of these tests: one process for each, started together, serving all tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from tests.services.servers import start
from tests.wire.connections import ANSWERS_WITHIN, Answer, Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.services.servers import Address, Server

T = TypeVar("T")

_ASGI = "tests.wire.application:asgi"
_WSGI = "tests.wire.application:wsgi"
_UVICORN = ["uvicorn", _ASGI, "--no-proxy-headers"]
_GUNICORN = ["gunicorn", _WSGI, "--bind", "127.0.0.1:{port}"]
_GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "{port}", "--interface"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a server is started; ``socket`` if it listens at ``{socket}`` as well."""

    interface: Literal["asgi", "wsgi"]
    command: list[str]
    socket: bool = False


KINDS: dict[str, Kind] = {
    "uvicorn, h11": Kind("asgi", [*_UVICORN, "--http", "h11", "--port", "{port}"]),
    "uvicorn, httptools": Kind("asgi", [*_UVICORN, "--http", "httptools", "--port", "{port}"]),
    "hypercorn": Kind(
        "asgi",
        ["hypercorn", "-w", "0", "-b", "127.0.0.1:{port}", "-b", "unix:{socket}", _ASGI],
        socket=True,
    ),
    "granian, ASGI": Kind("asgi", [*_GRANIAN, "asgi", _ASGI]),
    "granian, WSGI": Kind("wsgi", [*_GRANIAN, "wsgi", _WSGI]),
    "gunicorn, sync": Kind("wsgi", [*_GUNICORN, "--bind", "unix:{socket}"], socket=True),
    "gunicorn, threads": Kind("wsgi", [*_GUNICORN, "--threads", "4"]),
    "waitress": Kind("wsgi", ["waitress-serve", "--listen=127.0.0.1:{port}", _WSGI]),
    "werkzeug": Kind("wsgi", ["python", "-m", "tests.wire.application", "werkzeug", "{port}"]),
    "wsgiref": Kind("wsgi", ["python", "-m", "tests.wire.application", "wsgiref", "{port}"]),
}


class Fleet:
    """All servers, and the keys that their guards know, by name."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        folder: Path,
        keys: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        """Have them running."""
        self._servers = servers
        self._folder = folder
        self.keys = keys
        self.environment = environment
        self.recorded: dict[str, dict[str, Answer]] = {}

    def address(self, name: str) -> Address:
        """Return where a server listens."""
        return "127.0.0.1", self._servers[name].port

    def socket(self, name: str) -> Address:
        """Return the socket where it listens as well."""
        return str(socket_in(self._folder, name))

    def with_keys(self, raw: bytes) -> bytes:
        """Return bytes with keys for their names."""
        for name, key in self.keys.items():
            raw = raw.replace(b"{" + name.encode() + b"}", key.encode())
        return raw

    def connect(self, name: str) -> Connection:
        """Return a new connection to a server."""
        return Connection(self.address(name))

    def ask(
        self, raw: bytes, *, head: bool = False, within: float = ANSWERS_WITHIN
    ) -> dict[str, Answer]:
        """Send one request to every server, each over a connection of its own."""
        sent = self.with_keys(raw)

        def one(name: str) -> Answer:
            with self.connect(name) as connection:
                connection.send(sent)
                return connection.read(head=head, within=within)

        return self.on_each(one)

    def on_each(
        self, work: Callable[[str], T], names: Iterable[str] = tuple(KINDS)
    ) -> dict[str, T]:
        """Do something with several servers at once; return what each gave."""
        listed = list(names)
        with ThreadPoolExecutor(len(listed)) as pool:
            return dict(zip(listed, pool.map(work, listed), strict=True))

    def said(self) -> str:
        """Return everything that the servers wrote so far."""
        return "".join(line for server in self._servers.values() for line in server.said)


def socket_in(folder: Path, name: str) -> Path:
    """Return the path of a server's socket."""
    return folder / f"{sorted(KINDS).index(name)}.sock"


@contextmanager
def sailing(
    folder: Path, keys: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[Fleet]:
    """Start every server at once, wait for all of them, and end them."""
    with ExitStack() as stack:
        servers = {}
        for name, kind in KINDS.items():
            server = start(kind.command, environment, socket=str(socket_in(folder, name)))
            stack.callback(server.end)
            servers[name] = server
        for server in servers.values():
            server.wait()
        yield Fleet(servers, folder, keys, environment)

"""A connection to a server that can be cut where it hurts most: around a commit."""

from __future__ import annotations

import socket
import time
from contextlib import closing, suppress
from enum import Enum, auto
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_COMMIT = b"COMMIT\0"  # all of a statement, and not the end of READ COMMITTED

_LATE = 0.3


class Cut(Enum):
    """Where a connection is cut when a commit passes."""

    BEFORE = auto()
    """The server never hears of it."""

    AFTER = auto()
    """The server makes it, and only then is its sender cut off, who hears no answer."""

    LATE = auto()
    """The server makes it only when its sender has long given up."""

    HANG = auto()
    """It is not handed on, and its sender hears nothing until the server ends what stands still."""


_AT_ONCE = {Cut.BEFORE, Cut.LATE}
"""Which a sender notices before the server hears of the commit."""


class Proxy:
    """Hands on what a client and a server on 127.0.0.1 say to each other."""

    def __init__(self, port: int) -> None:
        """Listen on a port of its own for the server at ``port``."""
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: Cut | None = None
        """What befalls the next commit."""
        self.refuses = False
        """Whether new connections are closed at once."""
        self.hides = b""
        """What a server says and its clients never hear, as poolers do with parameters."""

    def __enter__(self) -> Self:
        """Begin to listen."""
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                ends = client, server, Event()
                Thread(target=self._up, args=ends, daemon=True).start()
                Thread(target=self._down, args=ends, daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, deaf: Event) -> None:
        with closing(client), closing(server), suppress(OSError):
            while said := client.recv(65_536):
                if self.cut is not None and _COMMIT in said:
                    cut, self.cut = self.cut, None
                    if cut in _AT_ONCE:
                        client.shutdown(socket.SHUT_RDWR)
                    if cut is Cut.LATE:
                        time.sleep(_LATE)
                    if cut in {Cut.AFTER, Cut.LATE}:
                        deaf.set()
                        server.sendall(said)
                        server.shutdown(socket.SHUT_WR)
                        while server.recv(65_536):
                            pass
                    if cut is Cut.HANG:
                        client.recv(65_536)
                    server.shutdown(socket.SHUT_RDWR)
                    break
                server.sendall(said)

    def _down(self, client: socket.socket, server: socket.socket, deaf: Event) -> None:
        with suppress(OSError):
            while said := server.recv(65_536):
                if self.hides:
                    said = said.replace(self.hides, b"?" * len(self.hides))
                if not deaf.is_set():
                    client.sendall(said)
            client.shutdown(socket.SHUT_RDWR)

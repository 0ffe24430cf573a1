"""Blocking connections of redis-py with one deadline for everything, and TLS prepared once.

redis-py has a timeout for each byte and each address, asks for names without one, and reads the
certificates of all authorities at every connection, which takes longer than a request may wait.
"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from keybound.caches.late import Late
from keybound.clocks import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from ssl import SSLContext

    Found = list[tuple[Any, ...]]

_EXACT = 0.001
"""Seconds by which a deadline may be missed."""


class Until:
    """A moment that changes."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        """Begin with one that is over."""
        self.at = 0.0


class Deadline:
    """A socket with one deadline for everything, where redis-py has a timeout for each byte."""

    def __init__(self, socket: Any, until: Until) -> None:  # noqa: ANN401 - with TLS or without
        """Read and write by a deadline."""
        self._socket = socket
        self._until = until
        self._timeout = -1.0  # none that was set here

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a socket has
        return getattr(self._socket, name)

    def settimeout(self, _seconds: float | None) -> None:
        """Leave that to the deadline."""

    def sendall(self, data: bytes) -> None:
        """Send all of it, or raise ``TimeoutError``."""
        left = self._until.at - monotonic()
        if not -_EXACT < left - self._timeout < _EXACT:
            self._hurry(left)
        self._socket.sendall(data)

    def recv(self, *arguments: Any) -> bytes:  # noqa: ANN401 - as sockets take them
        """Receive something, or raise ``TimeoutError``."""
        self._hurry(self._until.at - monotonic())
        received: bytes = self._socket.recv(*arguments)
        return received

    def recv_into(self, *arguments: Any) -> int:  # noqa: ANN401 - the same
        """Receive something, or raise ``TimeoutError``."""
        left = self._until.at - monotonic()
        if not -_EXACT < left - self._timeout < _EXACT:
            self._hurry(left)
        count: int = self._socket.recv_into(*arguments)
        return count

    def _hurry(self, left: float) -> None:
        """Let the socket wait that long: a call of the system, so not for less than it matters."""
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        self._timeout = left


class Hurried:
    """Goes before a connection of redis-py, and has a deadline: ``until.at``, for everything."""

    until: Until

    def _connect(self) -> Deadline:  # called by redis-py
        return Deadline(self._open(), self.until)

    def _open(self) -> Any:  # noqa: ANN401 - a socket, with TLS or without
        raise NotImplementedError

    def _left(self) -> float:
        left = self.until.at - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class HurriedTCP(Hurried):
    """Over TCP, to the first address of its host that answers."""

    host: str
    port: int
    names: Names
    socket_keepalive: bool
    socket_keepalive_options: Mapping[int, int | bytes]

    def _open(self) -> Any:  # noqa: ANN401 - the same
        found = self.names.find(self.host, self.port, self._left())
        failure: OSError = OSError("it has no address")
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            opened = socket.socket(family, kind, protocol)
            try:
                self._set_up(opened)
                opened.settimeout(self._left() / (len(found) - tried))
                opened.connect(address)
            except OSError as error:
                opened.close()
                failure = error
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        raise failure

    def _set_up(self, opened: socket.socket) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.socket_keepalive:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in self.socket_keepalive_options.items():
                opened.setsockopt(socket.IPPROTO_TCP, option, value)


class HurriedTLS(HurriedTCP):
    """Over TLS; the handshake has the deadline as well."""

    tls: TLSContext

    def _open(self) -> Any:  # noqa: ANN401 - the same
        opened = super()._open()
        try:
            opened.settimeout(self._left())
            return self.tls.get().wrap_socket(opened, server_hostname=self.host)
        except BaseException:
            opened.close()
            raise


class HurriedUnix(Hurried):
    """Over a socket of this machine."""

    path: str

    def _open(self) -> Any:  # noqa: ANN401 - the same
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self._left())
            opened.connect(self.path)
        except BaseException:
            opened.close()
            raise
        return opened


class Names:
    """Addresses of hosts; who resolves names may take seconds, and nobody waits for that."""

    def __init__(self) -> None:
        """Know none."""
        self._lock = Lock()
        self._asked: dict[tuple[str, int], Late[Found]] = {}

    def find(self, host: str, port: int, within: float) -> Found:
        """Return what ``getaddrinfo`` says.

        Raises ``OSError``, also for what takes too long, and ``CacheError``.
        """
        try:
            return _look_up(host, port, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:  # a name, as most are
            pass
        with self._lock:
            if len(self._asked) >= _NAMES_MAX:
                self._asked.clear()
            late = self._asked.get((host, port))
            if late is None:
                late = Late(partial(_look_up, host, port), name="keybound-names")
                self._asked[host, port] = late
        return late.within(within)


_NAMES_MAX: Final = 256


def _look_up(host: str, port: int, *, flags: int = 0) -> Found:
    return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)]


class TLSContext:
    """What TLS needs, made once and shared, and made anew when a file of it was replaced."""

    def __init__(self, make: Callable[[], SSLContext], files: Sequence[str]) -> None:
        """Make it; ``files`` are those that it is made of. Raises what ``make`` raises."""
        self._make = make
        self._files = files
        self._read_at = self._stamps()
        self._context = make()

    def get(self) -> SSLContext:
        """Return it; where a new file cannot be read yet, as it was."""
        stamps = self._stamps()
        if stamps != self._read_at:
            try:
                self._context = self._make()
            except (OSError, ValueError):
                return self._context
            self._read_at = stamps
        return self._context

    def _stamps(self) -> list[tuple[int, int, int]]:
        return [_stamp(file) for file in self._files]


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        found = Path(file).stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)

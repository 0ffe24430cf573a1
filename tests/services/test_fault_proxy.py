"""Every fault of the proxy is the fault that it says it is."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.services.fault_proxy import FaultProxy, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

SOON = 0.15
"""Seconds after which what did not arrive is held."""

LATE = 10.0
"""Seconds within which a busy machine does anything."""


class Echo:
    """A server that says its name and whatever it hears; ``heard`` is all of it."""

    def __init__(self, name: bytes) -> None:
        """Listen."""
        self.name = name
        self.heard = b""
        self.ended = threading.Event()
        """Set when a client said its last."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            try:
                while said := client.recv(65_536):
                    self.heard += said
                    client.sendall(self.name + said)
            except OSError:
                pass
            self.ended.set()


@pytest.fixture
def echo() -> Iterator[Echo]:
    """The server."""
    echo = Echo(b"")
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    """The proxy in front of it."""
    with FaultProxy(echo.port) as proxy:
        yield proxy


@contextmanager
def connected(proxy: FaultProxy, within: float = LATE) -> Generator[socket.socket]:
    """Connect a client."""
    with socket.create_connection(("127.0.0.1", proxy.port), within) as client:
        yield client


def says(client: socket.socket, said: bytes) -> bytes:
    """Say something, and return what comes back."""
    client.sendall(said)
    return hears(client, len(said))


def hears(client: socket.socket, count: int) -> bytes:
    """Return as many bytes as are expected, or what comes before the end."""
    heard = b""
    while len(heard) < count and (more := client.recv(65_536)):
        heard += more
    return heard


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another thread."""
    end = time.monotonic() + LATE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_everything_passes_without_a_fault(proxy: FaultProxy, echo: Echo):
    """In both directions, several clients, much at once, and the end of each."""
    with connected(proxy) as one, connected(proxy) as other:
        assert says(one, b"hello") == b"hello"
        large = bytes(range(256)) * 4_000
        threading.Thread(target=other.sendall, args=(large,)).start()
        assert hears(other, len(large)) == large
        assert proxy.connections == proxy.accepted == 2
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""  # the server heard it and ended, too
        assert echo.ended.is_set()
    until(lambda: proxy.connections == 0)


def test_delay_holds_every_piece_both_ways(proxy: FaultProxy):
    """A round trip takes twice the delay, also on a connection that was there before."""
    with connected(proxy) as client:
        assert says(client, b"fast") == b"fast"
        proxy.suffer(Faults(delay=0.1))
        began = time.monotonic()
        assert says(client, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.2
        proxy.heal()
        began = time.monotonic()
        assert says(client, b"fast") == b"fast"
        assert time.monotonic() - began < 0.1 + LATE / 4


def test_hang_holds_everything_and_delivers_it_late(proxy: FaultProxy, echo: Echo):
    """Neither old nor new connections hear anything, not even an end; then all of it arrives."""
    with connected(proxy) as old:
        assert says(old, b"1") == b"1"
        proxy.suffer(Faults(hangs=True))
        with connected(proxy) as new, connected(proxy) as gone:
            for client in (old, new, gone):
                client.sendall(b"2")
                client.settimeout(SOON)
                with pytest.raises(TimeoutError):
                    client.recv(1)
            gone.close()
            assert echo.heard == b"1"
            assert not echo.ended.is_set()
            proxy.heal()
            for client in (old, new):
                client.settimeout(LATE)
                assert client.recv(1) == b"2"
            until(lambda: echo.heard == b"1222")
            assert echo.ended.wait(LATE)


def test_reset_ends_all_connections_at_both_ends(proxy: FaultProxy, echo: Echo):
    """Whoever waits for an answer hears of it at once; new connections work."""
    with connected(proxy) as one, connected(proxy) as other:
        assert says(one, b"1") + says(other, b"2") == b"12"
        proxy.reset()
        for client in (one, other):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert proxy.connections == 0
        assert echo.ended.wait(LATE)
        with connected(proxy) as another:
            assert says(another, b"3") == b"3"


def test_half_close_ends_answers_and_not_questions(proxy: FaultProxy, echo: Echo):
    """The client reads an end, while what it says still arrives."""
    with connected(proxy) as client:
        assert says(client, b"1") == b"1"
        proxy.half_close()
        assert client.recv(1) == b""
        client.sendall(b"2")
        until(lambda: echo.heard == b"12")
        assert not echo.ended.is_set()
        assert client.recv(1) == b""
        with connected(proxy) as another:
            assert says(another, b"3") == b"3"


def test_lost_replies_leave_a_connection_dumb(proxy: FaultProxy, echo: Echo):
    """The server does what it is told; who told it hears nothing, even when the fault is over."""
    with connected(proxy) as client, connected(proxy) as quiet:
        assert says(client, b"1") + says(quiet, b"2") == b"12"
        proxy.suffer(Faults(loses_replies=True))
        client.sendall(b"3")
        until(lambda: echo.heard == b"123")
        client.settimeout(SOON)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        client.sendall(b"4")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert says(quiet, b"5") == b"5"  # it lost nothing


def test_refused_connections_are_reset_and_others_stay(proxy: FaultProxy):
    """As where a server's machine runs and the server does not."""
    with connected(proxy) as old:
        assert says(old, b"1") == b"1"
        proxy.suffer(Faults(refuses=True))
        with pytest.raises(ConnectionError), connected(proxy) as new:
            says(new, b"2")
        assert says(old, b"3") == b"3"
        proxy.heal()
        with connected(proxy) as new:
            assert says(new, b"4") == b"4"


def test_connection_is_cut_in_the_middle_of_an_answer(proxy: FaultProxy):
    """As many bytes arrive as were allowed, and then a reset."""
    with connected(proxy) as client:
        assert says(client, b"before") == b"before"
        proxy.suffer(Faults(cut_after=10))
        assert says(client, b"1234567") == b"1234567"
        client.sendall(b"1234567")
        with suppress(ConnectionResetError):  # it may overtake what was said before it
            assert client.recv(100) == b"123"
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            says(client, b"1")


def test_new_connections_are_led_elsewhere(proxy: FaultProxy):
    """As an address that moves to another machine: who is connected stays with the first."""
    other = Echo(b"other ")
    with connected(proxy) as old:
        assert says(old, b"1") == b"1"
        proxy.lead_to(other.port)
        with connected(proxy) as new:
            new.sendall(b"2")
            assert hears(new, 7) == b"other 2"
        assert says(old, b"3") == b"3"
    other.close()


def test_server_that_is_away_is_a_reset():
    """A client connects to the proxy, and is told at once that nobody is behind it."""
    away = Echo(b"")
    away.close()
    with (
        FaultProxy(away.port) as proxy,
        pytest.raises(ConnectionError),
        connected(proxy) as client,
    ):
        says(client, b"1")

"""A TCP proxy on 127.0.0.1 that does to connections what networks, machines and middle boxes do.

    with FaultProxy(server.port) as proxy:
        client = redis.Redis(port=proxy.port)
        proxy.suffer(Faults(delay=0.03))     # from now on, until something else is chosen
        proxy.reset()                        # once, to all connections there are
        proxy.heal()

What is chosen holds when the call returns, for connections that exist and for new ones.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

_PIECE = 65_536
_WITHIN = 10.0
_RESETS = struct.pack("ii", 1, 0)
"""To a socket: not to linger, so that closing it is a reset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What befalls all that passes."""

    delay: float = 0.0
    """Seconds that every piece is held, in both directions; what follows waits behind it."""

    hangs: bool = False
    """Nothing passes and nobody is told. What was said meanwhile arrives late, when it is over."""

    loses_replies: bool = False
    """What the server says is lost. A connection that lost something stays dumb for good: no
    network leaves out a part in the middle."""

    refuses: bool = False
    """New connections are reset at once."""

    cut_after: int | None = None
    """A connection is reset once the server has said that many more bytes: in the middle of it."""


class FaultProxy:
    """Hands on what clients and a server say to each other, unless a fault is in the way."""

    def __init__(self, server_port: int) -> None:
        """Listen on a port of its own for a server of 127.0.0.1."""
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        """Connections that were made so far, also those that were refused."""
        self._faults = Faults()
        self._passages: set[_Passage] = set()
        self._ready = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    def __enter__(self) -> Self:
        """Begin to accept."""
        self._thread.start()
        assert self._ready.wait(_WITHIN)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Listen no more, and end all connections."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_WITHIN)
        self._listener.close()

    def suffer(self, faults: Faults) -> None:
        """Let these faults, and no others, befall everything from now on."""
        self._do(self._suffer(faults))

    def heal(self) -> None:
        """Let everything pass again; connections that became dumb stay so."""
        self.suffer(Faults())

    def reset(self) -> None:
        """Reset every connection, at both ends."""
        self._do(self._reset())

    def half_close(self) -> None:
        """Tell every client that the server says no more, while it goes on to listen."""
        self._do(self._half_close())

    def lead_to(self, server_port: int) -> None:
        """Lead new connections to another server; those that exist stay where they are."""
        self._server_port = server_port

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._passages)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over, self._flows = asyncio.Event(), asyncio.Event()
        self._flows.set()
        accepting = self._loop.create_task(self._accept())
        self._ready.set()
        await self._over.wait()
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        await self._reset()

    async def _suffer(self, faults: Faults) -> None:
        self._faults = faults
        if faults.hangs:
            self._flows.clear()
        else:
            self._flows.set()

    async def _reset(self) -> None:
        tasks = [passage.task for passage in self._passages]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _half_close(self) -> None:
        for passage in self._passages:
            passage.dumb = True
            _shut(passage.client)

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.accepted += 1
            passage = _Passage(client)
            passage.task = self._loop.create_task(self._carry(passage))
            self._passages.add(passage)
            passage.task.add_done_callback(partial(self._gone, passage))

    def _gone(self, passage: _Passage, _: asyncio.Task[None]) -> None:
        """Close both ends, by a reset unless both came to their end: nobody waits on them now."""
        self._passages.discard(passage)
        for end in (passage.client, passage.server):
            if end is not None:
                if not passage.ended:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
                end.close()

    async def _carry(self, passage: _Passage) -> None:
        try:
            await self._flows.wait()
            if self._faults.refuses:
                return
            passage.server = socket.socket()
            for end in (passage.client, passage.server):
                end.settimeout(0)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(passage.server, ("127.0.0.1", self._server_port))
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(passage, passage.server))
                both.create_task(self._answer(passage, passage.server))
            passage.ended = True
        except* (OSError, _CutError):  # either end is gone: so is the other
            pass

    async def _ask(self, passage: _Passage, server: socket.socket) -> None:
        while said := await self._loop.sock_recv(passage.client, _PIECE):
            await self._hold()
            await self._loop.sock_sendall(server, said)
        await self._hold()
        _shut(server)

    async def _answer(self, passage: _Passage, server: socket.socket) -> None:
        while said := await self._loop.sock_recv(server, _PIECE):
            await self._hold()
            passage.dumb = passage.dumb or self._faults.loses_replies
            if passage.dumb:
                continue
            await self._loop.sock_sendall(passage.client, said[: self._left(passage, len(said))])
            if self._faults.cut_after is not None and passage.said > self._faults.cut_after:
                raise _CutError
        await self._hold()
        if not passage.dumb:
            _shut(passage.client)

    def _left(self, passage: _Passage, count: int) -> int | None:
        """Return how much of that many bytes may still be said."""
        if self._faults.cut_after is None:
            passage.said = 0
            return None
        left = self._faults.cut_after - passage.said
        passage.said += count
        return max(0, left)

    async def _hold(self) -> None:
        if self._faults.delay:
            await asyncio.sleep(self._faults.delay)
        await self._flows.wait()


class _Passage:
    """A client, its connection to the server, and what became of them."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.task: asyncio.Task[None]
        self.dumb = False
        self.ended = False
        self.said = 0
        """Bytes that the server said since connections are cut."""


class _CutError(Exception):
    """Enough was said."""


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it is gone already, and whoever reads from it hears so

"""Exchanges of tasks end by their own time, whoever's timer is there already."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from keybound.caches.redis_dial import Dialler
from keybound.caches.redis_link import pack
from keybound.caches.redis_wires import AsyncWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PING = pack(b"PING")
SLACK = 0.25
"""Seconds that a busy machine may take to notice a moment."""


@asynccontextmanager
async def wire_to_a_server(answers: int) -> AsyncIterator[AsyncWire]:
    """Yield a wire to a server that says ``PONG`` so many times, and then nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(answers):
            await reader.readexactly(len(PING))
            writer.write(b"+PONG\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Dialler(f"redis://127.0.0.1:{port}").arouted().connection
    await connection.connect()
    try:
        yield AsyncWire(connection)
    finally:
        await connection.disconnect()
        server.close()


async def seconds_of(wire: AsyncWire, within: float) -> float:
    """Return how long one exchange took, answered or not; a late one is a ``TimeoutError``."""
    begun = monotonic()
    wire.until = begun + within
    await wire.exchange(PING, 1)
    return monotonic() - begun


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("first", "then"), [(0.2, 0.6), (0.6, 0.2), (30.0, 0.3), (0.1, 0.3)], ids=str
)
def test_an_exchange_ends_by_its_own_time(loop: str, first: float, then: float):
    """Neither sooner, by the timer of the one before, nor later."""

    async def main() -> float:
        async with wire_to_a_server(answers=1) as wire:
            assert await seconds_of(wire, first) < first
            begun = monotonic()
            with pytest.raises(TimeoutError):
                await seconds_of(wire, then)
            return monotonic() - begun

    took = pytest.importorskip(loop).run(main())
    assert then - 0.01 <= took < then + SLACK


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_timer_that_finds_nothing_under_way_ends_nothing(loop: str):
    """The connection is as good as before, for an exchange that has a timer again."""

    async def main() -> None:
        async with wire_to_a_server(answers=3) as wire:
            await seconds_of(wire, 0.1)
            await asyncio.sleep(0.2)
            await seconds_of(wire, 0.1)
            for _ in range(4):  # the timer of the last one comes while nothing is asked, or is
                await asyncio.sleep(0.03)
            await seconds_of(wire, 0.5)
            with pytest.raises(TimeoutError):
                await seconds_of(wire, 0.1)

    pytest.importorskip(loop).run(main())

"""A connection to Redis that ended while nobody used it is replaced, however it ended."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from keybound.caches.redis import AsyncRedisCache, RedisCache, RedisLink
from keybound.core.effects import Moment, ReadShared
from keybound.core.secret import Secret
from tests.services.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOW = {"reset": FaultProxy.reset, "half-closed": FaultProxy.half_close}
SETTLES = 0.1
"""Seconds within which a client hears of it."""


@pytest.fixture
def proxy(redis_server) -> Iterator[FaultProxy]:
    """Return what stands before Redis."""
    with FaultProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def link(proxy: FaultProxy) -> RedisLink:
    """Return a link by way of it."""
    url = Secret(f"redis://127.0.0.1:{proxy.port}/0")
    return RedisLink(url, timeout=1.0, boot=time.monotonic)


def question() -> ReadShared:
    """Return what is asked."""
    return ReadShared((b"nothing",), Moment(time.monotonic(), 0.0))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", HOW)
def test_task_does_not_notice(loop: str, how: str, proxy: FaultProxy, link: RedisLink):
    """The next question is answered, on every loop; nothing is said, and nobody waits."""
    run: Callable[..., None] = pytest.importorskip(loop).run

    async def ask() -> None:
        cache = AsyncRedisCache(link)
        assert await cache.read(question()) == [None]
        HOW[how](proxy)
        await asyncio.sleep(SETTLES)
        assert await cache.read(question()) == [None]
        await cache.close()

    run(ask())
    assert not link.breaker.open
    assert proxy.accepted == 2


@pytest.mark.parametrize("how", HOW)
def test_thread_does_not_notice(how: str, proxy: FaultProxy, link: RedisLink):
    """The same for those that block."""
    cache = RedisCache(link)
    assert cache.read(question()) == [None]
    HOW[how](proxy)
    time.sleep(SETTLES)
    assert cache.read(question()) == [None]
    cache.close()
    assert not link.breaker.open
    assert proxy.accepted == 2

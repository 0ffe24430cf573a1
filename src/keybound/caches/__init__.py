"""Caches: of this process, and the one that processes share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from keybound.core.errors import CacheError, MissingExtraError
from keybound.loops import here, in_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.caches.credentials import Credentials
    from keybound.caches.listening import Ear, Listener
    from keybound.caches.redis import AsyncRedisCache, RedisCache, RedisLink
    from keybound.core.effects import ReadShared
    from keybound.core.secret import Secret


@dataclass(frozen=True, slots=True)
class SharedCache:
    """One shared cache for threads and for tasks, with what both have in common."""

    link: RedisLink
    blocking: RedisCache
    awaiting: AsyncRedisCache

    async def read(self, asked: ReadShared) -> Sequence[bytes | None]:
        """Return what is there under these names, to a task. Raises ``CacheError``.

        redis-py knows asyncio alone, so a task of trio has a thread that asks.
        """
        if not in_trio():
            return await self.awaiting.read(asked)
        loop, ask = here(), partial(self.blocking.read, asked)
        try:
            return await loop.within(self.link.left(asked.asked_at), partial(loop.in_thread, ask))
        except TimeoutError:  # while others have all the threads, too
            msg = "no thread answered in time"
            raise CacheError(msg) from None

    async def close(self) -> None:
        """Let the connection of this loop go, if it has one; the next question makes another."""
        if not in_trio():
            await self.awaiting.close()

    def listener(self, channel: bytes, ear: Ear) -> Listener:
        """Return what listens to a channel of its server, in a thread of its own."""
        from keybound.caches.listening import Listener

        return Listener(self.link.dial, channel=channel, location=self.link.location, ear=ear)


def open_shared(
    url: Secret,
    *,
    timeout: float,
    boot: Callable[[], float],
    credentials: Credentials | None = None,
) -> SharedCache:
    """Return the shared cache at a URL; nothing is connected before its first use.

    Raises ``SettingsError`` for a URL that cannot be used, and ``MissingExtraError``.
    """
    try:
        from keybound.caches.redis import AsyncRedisCache, RedisCache, RedisLink
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error, extra="redis") from error
    link = RedisLink(url, timeout=timeout, boot=boot, credentials=credentials)
    return SharedCache(link, RedisCache(link), AsyncRedisCache(link))

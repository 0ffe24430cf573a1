"""Caches: of this process, and the one that processes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.caches.credentials import Credentials
    from keybound.caches.listening import Ear, Listener
    from keybound.caches.redis import AsyncRedisCache, RedisCache, RedisLink
    from keybound.core.secret import Secret


@dataclass(frozen=True, slots=True)
class SharedCache:
    """One shared cache for threads and for tasks, with what both have in common."""

    link: RedisLink
    blocking: RedisCache
    awaiting: AsyncRedisCache

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

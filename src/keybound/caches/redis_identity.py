"""Connections of redis-py that are told who we are by the site, whenever they are made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.credentials import CredentialProvider

from keybound.clocks import monotonic

if TYPE_CHECKING:
    from keybound.caches.credentials import Credentials
    from keybound.caches.redis_sockets import Until


class Asked(CredentialProvider):
    """Tells a blocking connection who we are, in time."""

    def __init__(self, credentials: Credentials, until: Until) -> None:
        """Ask these, by a deadline that changes."""
        self._credentials = credentials
        self._until = until

    def get_credentials(self) -> Any:  # noqa: ANN401 - a pair, or a password alone
        """Return them. Raises ``CacheError`` and ``TimeoutError``."""
        return self._credentials.within(self._until.at - monotonic())


class Told(CredentialProvider):
    """Tells an awaiting connection who we are: what was asked before it connects."""

    def __init__(self, credentials: Credentials) -> None:
        """Ask these."""
        self._credentials = credentials
        self._answer: tuple[str, ...] = ()

    async def ask(self) -> None:
        """Ask now. Raises ``CacheError``."""
        future = self._credentials.begin()
        self._answer = await asyncio.wrap_future(future)
        self._credentials.taken(future)

    def get_credentials(self) -> Any:  # noqa: ANN401 - the same; redis-py 5 calls this one
        """Return what was answered."""
        return self._answer

    async def get_credentials_async(self) -> Any:  # noqa: ANN401 - the same
        """Return what was answered."""
        return self._answer


class Identified:
    """Goes before an awaiting connection of redis-py, which may have nothing to await."""

    credential_provider: Told

    async def connect(self) -> None:
        """Ask who we are, and connect."""
        await self.credential_provider.ask()
        await super().connect()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

"""A line to whichever server the Sentinels say is the primary, asked at every connection.

Never to a replica: whatever a Sentinel says, the server itself is asked what it is.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

from redis import exceptions

from keybound.caches.redis_link import (
    CONNECT,
    DISCONNECT,
    Exchange,
    Line,
    Part,
    Together,
    explain,
    pack,
)
from keybound.caches.redis_urls import Address
from keybound.core.effects import ask
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.caches.redis_link import Outcome, Reply
    from keybound.core.effects import Steps

_ROLE: Final = pack(b"ROLE")


class Sentinels:
    """Which Sentinels there are, the one that answered last first; lines share it."""

    def __init__(self, addresses: Sequence[Address], primary: str) -> None:
        """Know where they are, and by which name they know the primary."""
        self.primary = primary
        self.question = pack(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", primary.encode())
        self._addresses = [*addresses]
        self._lines = WeakSet[Line]()
        self._lock = Lock()

    def join(self, line: Line) -> None:
        """Have this line connect anew when the primary has moved."""
        with self._lock:
            self._lines.add(line)

    def order(self) -> Sequence[Address]:
        """Return them in the order in which to ask them."""
        return tuple(self._addresses)

    def demote(self, address: Address) -> None:
        """Ask this one last: it did not help."""
        with self._lock:
            self._addresses.remove(address)
            self._addresses.append(address)

    def moved(self) -> None:
        """Let every line ask where the primary is before it says another word."""
        with self._lock:
            for line in self._lines:
                line.stands = False


class SentinelLine(Line):
    """A line to the primary."""

    __slots__ = ("_dial", "_sentinels")

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - of redis-py, which is untyped
        sentinels: Sentinels,
        dial: Callable[[Address], Any],
    ) -> None:
        """Use a connection of redis-py, to wherever; ``dial`` makes one to a Sentinel."""
        super().__init__(connection)
        self._sentinels = sentinels
        self._dial = dial
        sentinels.join(self)

    def connect(self) -> Steps[None]:
        """Ask the Sentinels in turn, until one names a server that says it is the primary."""
        yield from ask(DISCONNECT)  # where it stood until the primary moved
        problem, order = "", self._sentinels.order()
        for asked, sentinel in enumerate(order):
            part = Part(Line(self._dial(sentinel)), self._sentinels.question, 1, ends=True)
            # One that hangs leaves time for the others, and for the primary.
            (outcome,) = yield from ask(Together((part,), 1 / (len(order) - asked + 1)))
            found = _read(outcome)
            if isinstance(found, Address):
                problem = yield from self._try(found)
                if not problem:
                    return
            else:
                problem = f"Sentinel {sentinel}: {found}"
            self._sentinels.demote(sentinel)
        raise CacheError(problem)

    def _try(self, address: Address) -> Steps[str]:
        """Connect to what should be the primary; return what is wrong with it."""
        self.connection.host, self.connection.port = address
        try:
            yield from ask(CONNECT)
            (role,) = yield from ask(Exchange(_ROLE, 1))
        except exceptions.AuthenticationError:
            raise  # no other Sentinel knows better
        except (exceptions.RedisError, OSError) as error:
            return f"primary {address}: {explain(error)}"
        if isinstance(role, list) and cast("list[object]", role)[:1] == [b"master"]:
            return ""
        yield from ask(DISCONNECT)
        if isinstance(role, Exception):
            return f"primary {address}: {explain(role)}"
        return f"{address} is not the primary that a Sentinel says it is"

    def converse(
        self, packed: bytes, count: int, failure: Exception | None = None
    ) -> Steps[list[Reply]]:
        """Say it, and once more to another primary if this one is none any more."""
        replies = yield from super().converse(packed, count, failure)
        if not self.stands:  # it took a demoted one for the primary
            self._sentinels.moved()
            replies = yield from super().converse(packed, count)
        return replies


def _read(outcome: Outcome) -> Address | str:
    """Return where the primary is, or why this Sentinel did not say."""
    if isinstance(outcome, CacheError):
        return str(outcome)
    match outcome[0]:
        case [bytes(host), bytes(port)] if port.isdigit():
            return Address(host.decode(errors="replace"), int(port))
        case None:
            return "it knows no primary of that name"
        case Exception() as error:
            return explain(error)
        case _:
            return "it is no Sentinel"

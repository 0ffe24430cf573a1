"""What procedures ask of the world, and what they are answered.

A procedure is a generator of these; ``run`` and ``arun`` in ``keybound.drivers`` answer them. One
effect of a store is one transaction on the primary, and what it answers is one snapshot.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from msgspec import Struct

if TYPE_CHECKING:
    from keybound.core.nodes import StoredNode

T = TypeVar("T")

CHANGES_MAX = 1_000
"""Changes and tags that one sync answers at most."""

EVERYTHING = "*"
"""The node of a change row that stands for all nodes."""


class Effect(Generic[T]):
    """A request to a port, answered with a ``T`` or with a ``KeyboundError`` thrown in.

    A value: a frozen dataclass, or a frozen Struct where one is made on every miss.
    """

    __slots__ = ()


Steps = Generator[Effect[Any], Any, T]
"""A procedure that returns a ``T``."""


def ask(effect: Effect[T]) -> Steps[T]:
    """Yield one effect and return its answer, typed."""
    return cast("T", (yield effect))


class Moment(Struct, frozen=True):
    """One reading of both clocks, in seconds.

    ``boot`` never goes back and counts suspended time; ``wall`` is POSIX time, UTC.
    """

    boot: float
    wall: float


@dataclass(frozen=True, slots=True)
class ReadClock(Effect[Moment]):
    """What time it is."""


@dataclass(frozen=True, slots=True)
class ReadEntropy(Effect[bytes]):
    """``size`` random bytes, fit for keys."""

    size: int


@dataclass(frozen=True, slots=True)
class Sleep(Effect[None]):
    """Wait for ``seconds``."""

    seconds: float


class LogHead(NamedTuple):
    """Where a store stands: ``tag`` is the random name of revision ``rev``."""

    rev: int
    tag: bytes
    epoch: bytes


class Change(NamedTuple):
    """One row of the change log: revision ``rev`` touched ``node`` (or ``EVERYTHING``)."""

    rev: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAnswer:
    """What changed after a revision.

    ``changes``: the newest ``CHANGES_MAX`` after it, oldest first. ``tags``: revision -> tag, of
    that revision, if still known, and of the newest ``CHANGES_MAX`` after it. ``unstamped``: a host
    committed changes which have no revision yet, and so are none of these.
    """

    head: LogHead
    changes: tuple[Change, ...]
    tags: dict[int, bytes]
    unstamped: bool = False


@dataclass(frozen=True, slots=True)
class Sync(Effect[SyncAnswer]):
    """Everything that a worker which knows revision ``since`` has missed."""

    since: int


class Row(NamedTuple):
    """A stored node: ``rev`` is the revision that last changed it, ``digest`` finds a key.

    Below zero it is no revision, but tells the change of a host from others all the same.
    """

    node: StoredNode
    rev: int
    digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A key and the nodes above it, ``None`` where there is no such node; all of one snapshot.

    ``key`` is the id of the node asked for, ``None`` when it does not exist. ``unstamped``: a host
    committed a change of one of these, or of there being none, that has no revision yet.
    """

    head: LogHead
    key: str | None
    rows: dict[str, Row | None]
    unstamped: bool = False


@dataclass(frozen=True, slots=True)
class LoadByDigest(Effect[Loaded]):
    """The key stored under one of these digests, with everything above it."""

    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LoadNode(Effect[Loaded]):
    """The node with this id, with everything above it."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A node to write. ``expected`` is its last revision, ``None`` when it must not exist yet.

    ``digest`` finds the node from now on; ``None`` keeps the one that it has.
    """

    node: StoredNode
    expected: int | None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Effect[LogHead]):
    """Write nodes as one revision, named by the random ``tag``; the answer is the new head.

    In one transaction: take the revision, check that every put and every ``ceilings`` node (id,
    revision) is as it was read, write, log. Raises ``ConflictError`` when one is not.
    """

    puts: tuple[Put, ...]
    ceilings: tuple[tuple[str, int], ...] = ()
    tag: bytes


@dataclass(frozen=True, slots=True)
class HostCommit(Effect[None]):
    """Write as a commit does, within the transaction of a host, which commits it or does not.

    It takes no revision, since the counter would be held until then: what is logged waits for a
    ``Stamp``. The nodes are given versions below zero instead.
    """

    commit: Commit


@dataclass(frozen=True, slots=True)
class Stamp(Effect[LogHead]):
    """Give all that hosts committed without a revision the next one, named by ``tag``.

    The answer is the head once there is nothing left of that, whoever did it.
    """

    tag: bytes


@dataclass(frozen=True, slots=True)
class ReplaceEpoch(Effect[bytes]):
    """Set a new epoch if the current one is still ``seen``; the answer is the one in force."""

    seen: bytes
    new: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNodes(Effect["tuple[Row, ...]"]):
    """Nodes of one kind after an id, in order of ids, at most ``limit`` of them.

    ``tenant`` is that very home tenant; ``parent`` that very parent; ``None`` does not narrow.
    """

    kind: str = "key"
    tenant: str | None = None
    parent: str | None = None
    after: str = ""
    limit: int = 100


class UsageRow(NamedTuple):
    """What was counted of one key; moments are POSIX seconds.

    ``since`` is when counting it began: the first that was recorded stays.
    """

    key: str
    since: float
    uses: int = 0
    refusals: int = 0
    used_at: float | None = None
    refused_at: float | None = None

    def plus(self, later: UsageRow) -> UsageRow:
        """Return the sums, with the later moments."""
        return self._replace(
            uses=self.uses + later.uses,
            refusals=self.refusals + later.refusals,
            used_at=_latest(self.used_at, later.used_at),
            refused_at=_latest(self.refused_at, later.refused_at),
        )


USAGE_ROWS_MAX = 500
"""Rows that one effect about usage has at most."""


@dataclass(frozen=True, slots=True)
class RecordUsage(Effect[int]):
    """Add numbers to what is stored of keys, and take the later moments; the answer is how many.

    The rows are in order of ids, one of each, so that whoever records at the same time waits in
    one direction. No node is read or written, nothing is logged and no revision is taken; nothing
    need be stored under an id. Raises ``UnsureError`` when it may have been done.
    """

    rows: tuple[UsageRow, ...]


@dataclass(frozen=True, slots=True)
class ReadUsage(Effect["dict[str, UsageRow]"]):
    """What is recorded of these keys, of those of which anything is."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Installation:
    """What identifies a store: a random id, and the fingerprint of the secret it is used with."""

    id: bytes
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class OpenStore(Effect[Installation]):
    """Create what is missing and check what is there; ``entropy`` makes a new installation id.

    Raises ``StoreError`` when the store is of another program or version.
    """

    entropy: bytes


@dataclass(frozen=True, slots=True)
class SetFingerprint(Effect[None]):
    """Remember the fingerprint of the secret in use."""

    fingerprint: str


class ReadShared(Struct, Effect["tuple[bytes | None, ...]"], frozen=True):
    """What the shared cache holds under each of these names: nothing that can be relied on.

    ``asked_at`` is when the first of several such questions was asked: together they take no more
    than the time that one may take. Raises ``CacheError``.
    """

    names: tuple[bytes, ...]
    asked_at: Moment


class Offer(NamedTuple):
    """A value for the shared cache, to be kept unless what is there is of a later revision.

    ``replace``: what is there is no good, whatever revision it claims.
    """

    name: bytes
    value: bytes
    replace: bool


@dataclass(frozen=True, slots=True)
class OfferShared(Effect[None]):
    """Hand values over to the shared cache, without waiting for what becomes of them."""

    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Announce(Effect[None]):
    """Keep a value in the shared cache unless a later one is there, and publish a message.

    Answered when the server took the message. Raises ``CacheError``, within the time that asking
    the shared cache may take.
    """

    offer: Offer
    channel: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class Uninterrupted(Effect[T]):
    """What these steps return, or raise; once begun they are taken to their end.

    Also when whoever asked is cancelled meanwhile.
    """

    steps: Steps[T]


def _latest(one: float | None, other: float | None) -> float | None:
    return max([each for each in (one, other) if each is not None], default=None)


def absence_id(digest: bytes) -> str:
    """Return the name under which the absence of a digest is fenced and logged."""
    return "d:" + digest.hex()[:22]

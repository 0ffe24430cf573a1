"""How a worker keeps up with the store: the sync and the look-up, as generators of effects.

The claim they keep: no worker accepts a key more than the bound after the change that ends or
narrows it was committed. A decision is taken on the local cache alone; these only fill it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from keybound.core.budget import Budget
from keybound.core.chain import Chain
from keybound.core.effects import (
    LoadByDigest,
    ReadClock,
    ReadEntropy,
    ReplaceEpoch,
    Sync,
    absence_id,
    ask,
)
from keybound.core.errors import RecordCorruptError, StoreBusyError, StoreUnavailableError
from keybound.core.fence import Applied
from keybound.core.joining import Unshared, alone
from keybound.core.nodes import APIKey
from keybound.core.sharing import Search, offer
from keybound.core.stamping import stamp
from keybound.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.core.effects import Loaded, LogHead, Moment, Steps, SyncAnswer
    from keybound.core.fence import Fence
    from keybound.core.joining import Flights
    from keybound.core.nodes import StoredNode
    from keybound.core.shared import SharedRecords
    from keybound.core.terms import ChainPolicy

ATTEMPTS = 6
EPOCH_BYTES = 16

_TOO_MANY = (
    "too many keys are asked for that do not exist, so those neither in memory nor in Redis are "
    "refused: limit rates in front, or raise unknown_keys_max"
)

_CLOCK = ReadClock()
_SYNC = b"sync"
"""What a flight is about that is not about one key; indexes of keys are longer."""


class Cache(Protocol):
    """The local cache, as the procedures see it; each call is atomic for threads."""

    fence: Fence

    def apply(self, answer: SyncAnswer, *, since: int, hinted: int, sent_at: Moment) -> Applied:
        """Raise the fence, drop what fell below it, and only then extend the lease."""
        ...

    def admit(
        self,
        index: bytes,
        chain: Chain | None,
        *,
        heads: Mapping[str, LogHead],
        proof: Moment | None,
    ) -> bool:
        """Keep a chain, or that there is none, if each node's head was seen, and is at its floor.

        ``proof`` is when the store was asked for all of it; without one the lease alone counts.
        """
        ...

    def knows(self, index: bytes, now: Moment) -> bool:
        """Return whether this can be decided without asking anybody."""
        ...

    def held(self, node: str) -> tuple[StoredNode, LogHead] | None:
        """Return a node of a chain that is kept, as it was when that was read."""
        ...

    def extend(self) -> None:
        """Let the lease last for the grace as well: the store cannot be reached."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process: its cache, and how long that may be relied on without a sync (seconds).

    ``records`` reads and writes the shared cache, where there is one. ``unknown`` is how often the
    store is asked for keys that it does not have.
    """

    cache: Cache
    policy: ChainPolicy
    flights: Flights = field(default_factory=Unshared)
    records: SharedRecords | None = None
    bound: float = 5.0
    grace: float = 0.0
    unknown: Budget = field(default_factory=lambda: Budget(0), compare=False)
    tally: Tally = field(default_factory=Tally, compare=False)
    search: Search | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Search the shared cache for this worker, where there is one."""
        if self.records is not None:
            catch_up = partial(_catch_up_with, self)
            search = Search(self.records, self.cache, self.policy, catch_up, self.tally)
            object.__setattr__(self, "search", search)


def sync(worker: Worker) -> Steps[None]:
    """Learn what changed. The lease starts when the question was sent, not when it was answered.

    Raises ``StoreError``; what was known stays, and the lease runs out by itself.
    """
    fence = worker.cache.fence
    for _ in range(ATTEMPTS):
        sent_at = yield from ask(_CLOCK)
        since, hinted, before = fence.since, fence.hinted, fence.synced_at
        answer = yield from ask(Sync(since))
        if answer.unstamped:
            yield from stamp()
            # What is unstamped now was committed later than this sync was sent.
            since, hinted = fence.since, fence.hinted
            answer = yield from ask(Sync(since))
        news = fence.news(answer.changes)
        applied = worker.cache.apply(answer, since=since, hinted=hinted, sent_at=sent_at)
        if applied is Applied.DONE and before is not None and news:
            yield from _tell(worker.tally, before, news)
        if applied in {Applied.DONE, Applied.OVERTAKEN}:
            return
        if applied is Applied.REGRESSED:  # restored, or commits were lost: orphan what others hold
            new = yield from ask(ReadEntropy(EPOCH_BYTES))
            yield from ask(ReplaceEpoch(answer.head.epoch, new))
    msg = "the store changed under every sync; is it restored again and again?"
    raise StoreUnavailableError(msg)


def _tell(tally: Tally, before: Moment, news: int) -> Steps[None]:
    """Tell how long ago changes were committed at most: what ``before`` asked did not see them."""
    if tally.fenced is not None:
        now = yield from ask(_CLOCK)
        tally.fenced("sync", now.boot - before.boot, news)


def catch_up(worker: Worker, done: Callable[[], bool] = lambda: True) -> Steps[None]:
    """Sync, or wait for the sync that is under way, if that is enough for ``done``.

    It may be not: it may have been sent too early, or whoever sent it has been cancelled since.
    """
    for _ in range(ATTEMPTS):
        if (yield from alone(worker.flights, _SYNC, sync(worker))) or done():
            return


def look_up(
    worker: Worker,
    index: bytes,
    digest: bytes,
    candidates: Callable[[], tuple[bytes, ...]],
    now: Moment | None = None,
) -> Steps[None]:
    """Bring a key into the cache, or the fact that there is none.

    ``digest`` is what it would be stored under today, which is how it is shared, and ``candidates``
    are all that it may be stored under. ``now`` is a moment ago, if that was read already: too
    early is only stricter. Raises ``StoreError``, also where too many were asked for that do not
    exist: nobody can tell this one from those without asking. Nothing enters the cache that was not
    read at a revision which this worker has seen in the primary's log.
    """
    cache = worker.cache
    asked_at = now or (yield from ask(_CLOCK))
    if cache.knows(index, asked_at):  # since a moment ago: who asked before has been answered
        return
    if cache.fence.lapsed(worker.bound, asked_at):
        worker.tally.lapsed += 1
        try:
            yield from catch_up(worker, lambda: not cache.fence.lapsed(worker.bound, asked_at))
        except StoreUnavailableError:
            if cache.fence.lapsed(worker.bound + worker.grace, asked_at):
                raise
            cache.extend()
            return
        asked_at = yield from ask(_CLOCK)
    suspects: set[bytes] = set()
    if worker.search is not None:
        found = yield from worker.search.find(digest, asked_at, suspects)
        if found is not None and cache.admit(index, found[0], heads=found[1], proof=None):
            worker.tally.from_shared += 1
            return
    try:
        loaded, chain = yield from _load(worker, index, candidates())
    except StoreBusyError:
        if cache.knows(index, asked_at):  # all that it lacked was the sync
            return
        raise
    worker.tally.from_store += 1
    if worker.records is not None and chain is not None:
        yield from offer(worker.records, loaded, chain, digest, suspects)


def _catch_up_with(worker: Worker, head: LogHead) -> Steps[None]:
    yield from catch_up(worker, lambda: worker.cache.fence.has_seen(head))


def _load(
    worker: Worker, index: bytes, digests: tuple[bytes, ...]
) -> Steps[tuple[Loaded, Chain | None]]:
    """Bring what the store says into the cache, and return it."""
    cache = worker.cache
    for _ in range(ATTEMPTS):
        proof = yield from ask(_CLOCK)
        if worker.unknown.spent(proof.boot):
            raise StoreBusyError(_TOO_MANY)
        loaded = yield from ask(LoadByDigest(digests))
        if loaded.unstamped:
            yield from stamp()
            continue
        chain = _chain(loaded, digests, worker.policy)
        if chain is None:
            worker.unknown.charge(proof.boot)
        nodes = chain.nodes if chain is not None else [absence_id(each) for each in digests]
        heads = dict.fromkeys(nodes, loaded.head)
        if cache.admit(index, chain, heads=heads, proof=proof):
            return loaded, chain
        # What was only just committed is seen now, and so is whether what a message says is true.
        yield from catch_up(worker, partial(cache.fence.admits, heads))
        if cache.admit(index, chain, heads=heads, proof=proof):
            return loaded, chain
    msg = "the key changed under every look-up"
    raise StoreUnavailableError(msg)


def _chain(loaded: Loaded, digests: tuple[bytes, ...], policy: ChainPolicy) -> Chain | None:
    """Compile what was loaded; a row that a collation matched by mistake is no match."""
    row = loaded.rows.get(loaded.key) if loaded.key is not None else None
    if row is None or row.digest is None:
        return None
    if not any(hmac.compare_digest(row.digest, digest) for digest in digests):
        return None
    if not isinstance(row.node, APIKey):
        msg = f"{row.node.id} has a digest but is no key"
        raise RecordCorruptError(msg)
    above = {node: found.node if found is not None else None for node, found in loaded.rows.items()}
    return Chain(row.node, above, policy)

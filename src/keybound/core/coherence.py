"""How a worker keeps up with the store: the sync and the look-up, as generators of effects.

The claim they keep: no worker accepts a key more than the bound after the change that ends or
narrows it was committed. A decision is taken on the local cache alone; these only fill it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

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
from keybound.core.errors import RecordCorruptError, StoreUnavailableError
from keybound.core.fence import Applied
from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.chain import ChainPolicy
    from keybound.core.effects import Head, Loaded, Moment, Steps, SyncAnswer
    from keybound.core.fence import Fence

ATTEMPTS = 6
EPOCH_BYTES = 16


class Cache(Protocol):
    """The local cache, as the procedures see it; each call is atomic for threads."""

    fence: Fence

    def apply(
        self, answer: SyncAnswer, *, since: int, own: Mapping[str, Head], sent_at: Moment
    ) -> Applied:
        """Raise the fence, drop what fell below it, and only then extend the lease."""
        ...

    def admit(
        self, index: bytes, chain: Chain | None, *, nodes: Iterable[str], head: Head, proof: Moment
    ) -> bool:
        """Keep a chain, or that there is none, if ``head`` was seen and no floor is above it."""
        ...

    def extend(self) -> None:
        """Let the lease last for the grace as well: the store cannot be reached."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process: its cache, and how long that may be relied on without a sync (seconds)."""

    cache: Cache
    policy: ChainPolicy
    bound: float = 5.0
    grace: float = 0.0


def sync(worker: Worker) -> Steps[None]:
    """Learn what changed. The lease starts when the question was sent, not when it was answered.

    Raises ``StoreError``; what was known stays, and the lease runs out by itself.
    """
    fence = worker.cache.fence
    for _ in range(ATTEMPTS):
        sent_at = yield from ask(ReadClock())
        since, own = fence.since, fence.own
        answer = yield from ask(Sync(since))
        applied = worker.cache.apply(answer, since=since, own=own, sent_at=sent_at)
        if applied in {Applied.DONE, Applied.OVERTAKEN}:
            return
        if applied is Applied.REGRESSED:  # restored, or commits were lost: orphan what others hold
            new = yield from ask(ReadEntropy(EPOCH_BYTES))
            yield from ask(ReplaceEpoch(answer.head.epoch, new))
    msg = "the store changed under every sync; is it restored again and again?"
    raise StoreUnavailableError(msg)


def look_up(worker: Worker, index: bytes, digests: tuple[bytes, ...]) -> Steps[None]:
    """Bring the key with one of these digests into the cache, or the fact that there is none.

    Raises ``StoreError``. Nothing enters the cache that was not read at a revision which this
    worker has seen in the primary's log.
    """
    fence = worker.cache.fence
    for _ in range(ATTEMPTS):
        now = yield from ask(ReadClock())
        if fence.lapsed(worker.bound, now):
            try:
                yield from sync(worker)
            except StoreUnavailableError:
                if fence.lapsed(worker.bound + worker.grace, now):
                    raise
                worker.cache.extend()
                return
        proof = yield from ask(ReadClock())
        loaded = yield from ask(LoadByDigest(digests))
        chain = _chain(loaded, digests, worker.policy)
        nodes = chain.nodes if chain is not None else [absence_id(each) for each in digests]
        admit = partial(
            worker.cache.admit, index, chain, nodes=nodes, head=loaded.head, proof=proof
        )
        if admit():
            return
        yield from sync(worker)  # what was only just committed is seen now
        if admit():
            return
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

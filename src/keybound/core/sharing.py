"""What the shared cache is used for: to find a key without asking the store.

It is believed in nothing. A record is taken if this installation made it, for this very name, at a
revision that this worker has itself seen in the store's log, no older than the floor of its node;
and even then it proves nothing about now: it may be used as long as the lease lasts.

A key lies under one name, made of the digest that it would be stored under today, whichever digest
it is stored under: whoever looks for it with the same secret makes the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keybound.core.chain import CHAIN_MAX, Chain
from keybound.core.effects import Offer, OfferShared, ReadShared, ask
from keybound.core.errors import CacheError, RecordCorruptError
from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import TypeGuard

    from keybound.core.effects import Loaded, LogHead, Moment, Steps
    from keybound.core.fence import Fence
    from keybound.core.nodes import StoredNode
    from keybound.core.shared import SharedRecord, SharedRecords
    from keybound.core.tally import Tally
    from keybound.core.terms import ChainPolicy


class Cache(Protocol):
    """The local cache, as far as a search needs it."""

    fence: Fence

    def held(self, node: str) -> tuple[StoredNode, LogHead] | None:
        """Return a node of a chain that is kept, as it was when that was read."""
        ...


class Search:
    """Searches of the shared cache, for one local cache.

    ``catch_up`` syncs, since what is newer than the last sync may be good. Names under which there
    is something that never can be join the ``suspects``: what is offered next replaces it.
    ``tally`` counts what is refused.
    """

    __slots__ = ("_cache", "_catch_up", "_policy", "_records", "_tally")

    def __init__(
        self,
        records: SharedRecords,
        cache: Cache,
        policy: ChainPolicy,
        catch_up: Callable[[LogHead], Steps[None]],
        tally: Tally,
    ) -> None:
        """Search for this cache."""
        self._records = records
        self._cache = cache
        self._policy = policy
        self._catch_up = catch_up
        self._tally = tally

    def find(
        self, digest: bytes, asked_at: Moment, suspects: set[bytes]
    ) -> Steps[tuple[Chain, Mapping[str, LogHead]] | None]:
        """Return the chain of the key that is shared under a digest, each node with its revision.

        ``None`` where the store must be asked, for whatever reason.
        """
        epoch = self._cache.fence.epoch
        if epoch is None:  # it was reset since the sync
            return None
        name = self._records.key_name(epoch, digest)
        try:
            (value,) = yield ReadShared((name,), asked_at)
            if value is None:
                return None
            found = self._records.decode(name, epoch, value)
            if found is not None and found.head.rev > self._cache.fence.since:
                yield from self._catch_up(found.head)
            if not self._taken(found, name, suspects) or not isinstance(found.node, APIKey):
                return None
            key, heads = found.node, {found.node.id: found.head}
            if key.parent is None and not key.groups:  # most keys; whatever the hint says
                return Chain(key, {}, self._policy), heads
            above = dict.fromkeys((*key.above, *found.above))
            nodes = yield from self._above(epoch, above, heads, asked_at, suspects)
        except CacheError:
            return None
        return _compiled(key, nodes, heads, self._policy)

    def _above(
        self,
        epoch: bytes,
        above: Iterable[str],
        heads: dict[str, LogHead],
        asked_at: Moment,
        suspects: set[bytes],
    ) -> Steps[dict[str, StoredNode]]:
        """Return those of these nodes that are held here or shared; note their heads."""
        nodes: dict[str, StoredNode] = {}
        unknown: list[str] = []
        for node_id in above:
            held = self._cache.held(node_id)
            if held is None:
                unknown.append(node_id)
            else:
                nodes[node_id], heads[node_id] = held
        if not unknown:
            return nodes
        names = tuple([self._records.node_name(epoch, each) for each in unknown[:CHAIN_MAX]])
        values = yield from ask(ReadShared(names, asked_at))
        for name, value in zip(names, values, strict=True):
            if value is not None:
                record = self._records.decode(name, epoch, value)
                if record is not None and record.head.rev > self._cache.fence.since:
                    yield from self._catch_up(record.head)
                if self._taken(record, name, suspects):
                    nodes[record.node.id], heads[record.node.id] = record.node, record.head
        return nodes

    def _taken(
        self, record: SharedRecord | None, name: bytes, suspects: set[bytes]
    ) -> TypeGuard[SharedRecord]:
        """Return whether there is a record that may be used: seen, and at the floor of its node."""
        fence = self._cache.fence
        if record is None or not fence.has_seen(record.head):
            suspects.add(name)
            self._tally.forged += 1
            return False
        if record.head.rev < fence.floor(record.node.id):
            self._tally.outdated += 1
            return False
        return True


def offer(
    records: SharedRecords,
    loaded: Loaded,
    chain: Chain,
    digest: bytes,
    suspects: AbstractSet[bytes],
) -> Steps[None]:
    """Offer a key, to be found under this digest, and the nodes above it, as just loaded.

    Not where a node above is missing: such a chain is dead, and is not looked for in the cache.
    """
    rows = {node_id: loaded.rows.get(node_id) for node_id in chain.nodes}
    head, offers = loaded.head, list[Offer]()
    for node_id, row in rows.items():
        if row is None:
            return
        if node_id == chain.key.id:
            name, above = records.key_name(head.epoch, digest), tuple(rows)[1:]
        else:
            name, above = records.node_name(head.epoch, node_id), ()
        value = records.encode(name, row.node, head, above)
        offers.append(Offer(name, value, replace=name in suspects))
    yield from ask(OfferShared(tuple(offers)))


def _compiled(
    key: APIKey,
    nodes: Mapping[str, StoredNode],
    heads: Mapping[str, LogHead],
    policy: ChainPolicy,
) -> tuple[Chain, Mapping[str, LogHead]] | None:
    """Compile what was found; what stands above is decided by the nodes, never by the hint."""
    try:
        chain = Chain(key, nodes, policy)
    except RecordCorruptError:  # the store is asked, and says so
        return None
    if any(node is None for node in chain.nodes.values()):
        return None
    return chain, {node_id: heads[node_id] for node_id in chain.nodes}

"""What the shared cache is used for: to find a key without asking the store.

It is believed in nothing. A record is taken if this installation made it, for this very name, at a
revision that this worker has itself seen in the store's log, no older than the floor of its node;
and even then it proves nothing about now: it may be used as long as the lease lasts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keybound.core.chain import CHAIN_MAX, Chain
from keybound.core.effects import Offer, OfferShared, ReadShared, ask
from keybound.core.errors import CacheError, RecordCorruptError
from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from keybound.core.chain import ChainPolicy
    from keybound.core.effects import Head, Loaded, Moment, Steps
    from keybound.core.fence import Fence
    from keybound.core.nodes import StoredNode
    from keybound.core.shared import SharedRecord, SharedRecords

    Held = Callable[[str], tuple[StoredNode, Head] | None]


@dataclass(slots=True, kw_only=True)
class Search:
    """One search of the shared cache.

    ``held`` finds nodes that this worker holds already; ``catch_up`` syncs, since what is newer
    than the last sync may be good. ``suspects`` are the names under which there was something that
    never can be: what is offered next replaces it.
    """

    records: SharedRecords
    fence: Fence
    policy: ChainPolicy
    held: Held
    catch_up: Callable[[Head], Steps[None]]
    suspects: set[bytes] = field(default_factory=set[bytes])

    def find(
        self, digests: Iterable[bytes], asked_at: Moment
    ) -> Steps[tuple[Chain, dict[str, Head]] | None]:
        """Return the chain of the key with one of these digests, each node with its revision.

        ``None`` where the store must be asked, for whatever reason.
        """
        try:
            return (yield from self._find(digests, asked_at))
        except CacheError:
            return None

    def _find(
        self, digests: Iterable[bytes], asked_at: Moment
    ) -> Steps[tuple[Chain, dict[str, Head]] | None]:
        epoch = self.fence.epoch
        if epoch is None:  # it was reset since the sync
            return None
        names = tuple(self.records.key_name(epoch, digest) for digest in digests)
        found = [each for each in (yield from self._read(epoch, names, asked_at)) if each]
        if len(found) != 1 or not isinstance(found[0].node, APIKey):
            return None
        key, head, hints = found[0].node, found[0].head, found[0].above
        nodes: dict[str, StoredNode] = {}
        heads = {key.id: head}
        unknown: list[str] = []
        for node_id in dict.fromkeys((*key.above, *hints)):
            held = self.held(node_id)
            if held is None:
                unknown.append(node_id)
            else:
                nodes[node_id], heads[node_id] = held
        if unknown:
            names = tuple(self.records.node_name(epoch, each) for each in unknown[:CHAIN_MAX])
            for each in (yield from self._read(epoch, names, asked_at)):
                if each is not None:
                    nodes[each.node.id], heads[each.node.id] = each.node, each.head
        return _compiled(key, nodes, heads, self.policy)

    def _read(
        self, epoch: bytes, names: tuple[bytes, ...], asked_at: Moment
    ) -> Steps[list[SharedRecord | None]]:
        values = yield from ask(ReadShared(names, asked_at))
        records: list[SharedRecord | None] = []
        for name, value in zip(names, values, strict=True):
            checked = None if value is None else (yield from self._checked(epoch, name, value))
            records.append(checked)
        return records

    def _checked(self, epoch: bytes, name: bytes, value: bytes) -> Steps[SharedRecord | None]:
        """Return the record in a value if it is authentic, seen and above the floor of its node."""
        record = self.records.decode(name, epoch, value)
        if record is None:
            self.suspects.add(name)
            return None
        if record.head.rev > self.fence.since:
            yield from self.catch_up(record.head)
        if not self.fence.has_seen(record.head):
            self.suspects.add(name)
            return None
        return record if record.head.rev >= self.fence.floor(record.node.id) else None


def offer(
    records: SharedRecords, loaded: Loaded, chain: Chain, suspects: frozenset[bytes]
) -> Steps[None]:
    """Offer a key and the nodes above it, as the store has just answered them.

    Not where a node above is missing: such a chain is dead, and is not looked for in the cache.
    """
    rows = {node_id: loaded.rows.get(node_id) for node_id in chain.nodes}
    head, offers = loaded.head, list[Offer]()
    for node_id, row in rows.items():
        if row is None:
            return
        if node_id == chain.key.id:
            assert row.digest is not None  # noqa: S101 - it was found by that
            name, above = records.key_name(head.epoch, row.digest), tuple(rows)[1:]
        else:
            name, above = records.node_name(head.epoch, node_id), ()
        value = records.encode(name, row.node, head, above)
        offers.append(Offer(name, value, replace=name in suspects))
    yield from ask(OfferShared(tuple(offers)))


def _compiled(
    key: APIKey,
    nodes: Mapping[str, StoredNode],
    heads: Mapping[str, Head],
    policy: ChainPolicy,
) -> tuple[Chain, dict[str, Head]] | None:
    """Compile what was found; what stands above is decided by the nodes, never by the hint."""
    try:
        chain = Chain(key, nodes, policy)
    except RecordCorruptError:  # the store is asked, and says so
        return None
    if None in chain.nodes.values():
        return None
    return chain, {node_id: heads[node_id] for node_id in chain.nodes}

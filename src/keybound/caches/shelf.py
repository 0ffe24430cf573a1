"""Where chains are put away: each key packed, and what stands above it once for all keys below.

What is taken from here is no more believed than what Redis holds: it must have been read at the
floor of every node, though it was admitted once.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from keybound.caches.packed import PackedKeys
from keybound.core.chain import Chain
from keybound.core.errors import RecordCorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.effects import LogHead
    from keybound.core.fence import Fence
    from keybound.core.nodes import StoredNode
    from keybound.core.terms import ChainPolicy

ABOVE_MAX = 4_096
"""Parents and groups that are kept for all the keys below them."""

ONCE_MAX = 2_048
"""Keys after which it is forgotten which ones were taken, but for the last as many."""


class Shelf:
    """Up to ``size_max`` chains under the indexes of their credentials.

    ``peek`` returns of a chain that is a key alone, on which its terms alone decide, that key.
    Nobody has checked at which revision it was read. All else is not safe for threads by itself.
    """

    __slots__ = ("_above", "_keys", "_once", "_once_before", "_policy", "_size_max", "peek")

    def __init__(self, size_max: int, policy: ChainPolicy) -> None:
        """Hold nothing."""
        self._policy = policy
        self._size_max = size_max
        self._start_anew()
        self._above: dict[str, tuple[StoredNode, LogHead]] = {}
        self._once: set[bytes] = set()
        self._once_before: set[bytes] = set()

    def __len__(self) -> int:
        """Return how many chains are held."""
        return len(self._keys)

    def __contains__(self, index: bytes) -> bool:
        """Return whether there is a chain under an index, be it outdated or not."""
        return index in self._keys

    def note(self, chain: Chain, heads: Mapping[str, LogHead]) -> None:
        """Keep the nodes above the key of a chain, as they were read at these heads."""
        above = self._above
        for node_id, node in chain.nodes.items():
            if node is not None and node is not chain.key:
                above.pop(node_id, None)  # those that are kept longest come first
                above[node_id] = node, heads[node_id]
        while len(above) > ABOVE_MAX:
            del above[next(iter(above))]

    def node(self, node_id: str) -> tuple[StoredNode, LogHead] | None:
        """Return a node that stands above keys, if it is kept, as it was when it was read."""
        return self._above.get(node_id)

    def put(self, index: bytes, chain: Chain, rev: int) -> None:
        """Put a chain away whose key was read at this revision, and whose nodes are all noted.

        One that lacks a node is not held: it is dead, and the store says whether it stays so.
        """
        if index in self._keys or None in chain.nodes.values():
            return
        alone = len(chain.nodes) == 1 and chain.alive and chain.begins == -inf
        terms = chain.terms if alone and not chain.fleeting else None
        self._keys.put(index, rev, chain.key, terms=terms, ends=chain.ends)

    def take(self, index: bytes, fence: Fence) -> tuple[Chain, Mapping[str, int]] | None:
        """Return a chain and at which revisions its nodes were read; it stays here as well.

        If one of them is below its floor by now, or is not kept, the chain is dropped.
        """
        found = self._chain(index, fence)
        if found is None:
            self._keys.drop(index)
        return found

    def comes_again(self, index: bytes) -> bool:
        """Return whether this was asked about the same index a short while ago."""
        if index in self._once or index in self._once_before:
            return True
        if len(self._once) >= ONCE_MAX:
            self._once, self._once_before = set(), self._once
        self._once.add(index)
        return False

    def drop(self, index: bytes) -> None:
        """Hold this chain no longer, if it is held."""
        self._keys.drop(index)

    def clear(self) -> None:
        """Hold nothing; what was taken out before can still be unpacked."""
        self._keys.drop_all()  # an identity may keep this for as long as its request goes on
        self._start_anew()
        self._above.clear()

    def _start_anew(self) -> None:
        self._keys = PackedKeys(self._size_max)
        self.peek = self._keys.peek

    def _chain(self, index: bytes, fence: Fence) -> tuple[Chain, Mapping[str, int]] | None:
        read = self._keys.get(index)
        if read is None:
            return None
        nodes: dict[str, StoredNode] = {}
        revs = {read.key.id: read.rev}
        above = [*read.key.above]
        for node_id in above:
            found = self._above.get(node_id)
            if found is None:
                return None
            if node_id not in revs:
                nodes[node_id], revs[node_id] = found[0], found[1].rev
                above.extend(found[0].above)
        for node_id, rev in revs.items():
            if rev < fence.floor(node_id):
                return None
        try:
            return Chain(read.key, nodes, self._policy), revs
        except RecordCorruptError:  # the store is asked, and says so
            return None

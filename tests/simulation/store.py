"""The memory store, with what befalls databases: pruning at any time, backups, restores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from keybound.core.nodes import decode_node
from keybound.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from keybound.core.effects import Change, LogHead
    from keybound.core.nodes import StoredNode
    from keybound.stores.memory import _Stored


class Backup(NamedTuple):
    """All that a store holds."""

    head: LogHead | None
    nodes: Mapping[str, _Stored]
    owners: Mapping[bytes, str]
    changes: tuple[Change, ...]
    tags: Mapping[int, bytes]
    unstamped: tuple[str, ...]


class SimulatedStore(MemoryStore):
    """The real store; only its history is at the mercy of the simulation."""

    def prune(self, keep: int) -> None:
        """Forget all but the newest revisions of the log, each as a whole."""
        for rev in sorted(self._tags)[:-keep]:
            del self._tags[rev]
            self._changes = [change for change in self._changes if change.rev > rev]

    def back_up(self) -> Backup:
        """Return a copy of everything."""
        return Backup(
            self._head,
            dict(self._nodes),
            dict(self._owners),
            tuple(self._changes),
            dict(self._tags),
            tuple(self._unstamped),
        )

    def restore(self, backup: Backup) -> None:
        """Lose every commit since the backup, as a restore and a bad failover do."""
        self._head = backup.head
        self._nodes = dict(backup.nodes)
        self._owners = dict(backup.owners)
        self._changes = list(backup.changes)
        self._tags = dict(backup.tags)
        self._unstamped = list(backup.unstamped)

    def unseen(self, since: int, known: AbstractSet[bytes]) -> int:
        """Return how many revisions there are after one, but for those that are known by name."""
        kept = [rev for rev, tag in self._tags.items() if rev > since and tag in known]
        return max(0, self._current.rev - since) - len(kept)

    def nodes(self) -> dict[str, StoredNode]:
        """Return what is stored at this very moment."""
        return {node: decode_node(stored.record) for node, stored in self._nodes.items()}

    def owners(self) -> Mapping[bytes, str]:
        """Return the node of each digest at this very moment."""
        return self._owners

"""A store in the memory of one process: for tests, and for trying things out."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from keybound.core.chain import CHAIN_MAX
from keybound.core.effects import (
    CHANGES_MAX,
    Change,
    Commit,
    Effect,
    HostCommit,
    Installation,
    ListNodes,
    LoadByDigest,
    Loaded,
    LoadNode,
    LogHead,
    OpenStore,
    ReadUsage,
    RecordUsage,
    ReplaceEpoch,
    Row,
    SetFingerprint,
    Stamp,
    Sync,
    SyncAnswer,
    UsageRow,
    absence_id,
)
from keybound.core.errors import RecordCorruptError
from keybound.core.nodes import APIKey, encode_node
from keybound.locks import ForkLock
from keybound.stores.rules import (
    HISTORY_MAX,
    check_commit,
    forgets_through,
    logged,
    not_opened,
    originate,
    read_row,
    unstamped_rev,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A node as it lies in the store: encoded, so that nobody's later change reaches it."""

    record: bytes
    rev: int
    digest: bytes | None


class MemoryStore:
    """A store that ends with its process and answers as the lasting ones do; safe for threads."""

    location = "memory://"

    def __init__(self, *, history_max: int = HISTORY_MAX) -> None:
        """Begin empty; ``history_max`` is how many revisions of the change log are kept."""
        self._history_max = history_max
        self._lock = ForkLock()
        self._head: LogHead | None = None
        self._installation = Installation(b"", None)
        self._nodes: dict[str, _Stored] = {}
        self._owners: dict[bytes, str] = {}
        self._changes: list[Change] = []
        self._tags: dict[int, bytes] = {}
        self._usage: dict[str, UsageRow] = {}
        self._unstamped: list[str] = []
        self._handlers: dict[type[Effect[Any]], Callable[[Any], Any]] = {
            Commit: self._commit,
            HostCommit: self._host_commit,
            ListNodes: self._list_nodes,
            LoadByDigest: self._load_by_digest,
            LoadNode: self._load_node,
            OpenStore: self._open,
            ReadUsage: self._read_usage,
            RecordUsage: self._record_usage,
            ReplaceEpoch: self._replace_epoch,
            SetFingerprint: self._set_fingerprint,
            Stamp: self._stamp,
            Sync: self._sync,
        }

    def perform(self, effect: Effect[T]) -> T:
        """Answer one effect while no other one is answered."""
        handler = self._handlers[type(effect)]
        with self._lock.held():
            answer: T = handler(effect)
            return answer

    def close(self) -> None:
        """Keep everything: there is no connection to let go of."""

    @property
    def _current(self) -> LogHead:
        if self._head is None:
            raise not_opened(self.location)
        return self._head

    def _open(self, effect: OpenStore) -> Installation:
        if self._head is None:
            origin = originate(effect.entropy)
            self._installation = Installation(origin.installation, None)
            self._head = LogHead(0, origin.tag, origin.epoch)
            self._tags[0] = origin.tag
        return self._installation

    def _set_fingerprint(self, effect: SetFingerprint) -> None:
        _ = self._current
        self._installation = Installation(self._installation.id, effect.fingerprint)

    def _replace_epoch(self, effect: ReplaceEpoch) -> bytes:
        if self._current.epoch == effect.seen:
            self._head = self._current._replace(epoch=effect.new)
        return self._current.epoch

    def _sync(self, effect: Sync) -> SyncAnswer:
        head, since = self._current, effect.since
        first = bisect_right(self._changes, since, key=attrgetter("rev"))
        newer = [rev for rev in self._tags if rev > since][-CHANGES_MAX:]
        return SyncAnswer(
            head=head,
            changes=tuple(self._changes[first:][-CHANGES_MAX:]),
            tags={rev: self._tags[rev] for rev in (since, *newer) if rev in self._tags},
            unstamped=bool(self._unstamped),
        )

    def _load_by_digest(self, effect: LoadByDigest) -> Loaded:
        found = {self._owners[each] for each in effect.digests if each in self._owners}
        if len(found) > 1:
            msg = f"{', '.join(sorted(found))} are all found by the same credential"
            raise RecordCorruptError(msg)
        return self._loaded(found, map(absence_id, effect.digests))

    def _load_node(self, effect: LoadNode) -> Loaded:
        return self._loaded({effect.node} & self._nodes.keys())

    def _loaded(self, found: Iterable[str], names: Iterable[str] = ()) -> Loaded:
        queue = list(found)
        rows: dict[str, Row | None] = {}
        for node in queue:
            if node not in rows and len(rows) <= CHAIN_MAX:
                row = rows[node] = self._row(node)
                queue.extend(row.node.above if row is not None else ())
        unstamped = not {*rows, *names}.isdisjoint(self._unstamped)
        key = queue[0] if queue else None
        return Loaded(head=self._current, key=key, rows=rows, unstamped=unstamped)

    def _list_nodes(self, effect: ListNodes) -> tuple[Row, ...]:
        _ = self._current
        rows = (row for node in sorted(self._nodes) if (row := self._row(node)) is not None)
        matching = (row for row in rows if row.node.id > effect.after and _matches(row, effect))
        return tuple(row for row, _ in zip(matching, range(effect.limit), strict=False))

    def _commit(self, effect: Commit) -> LogHead:
        head = LogHead(self._current.rev + 1, effect.tag, self._current.epoch)
        self._write(effect, head.rev)
        self._log(head, logged(effect))
        return head

    def _host_commit(self, effect: HostCommit) -> None:
        """Commit at once: nobody else has a transaction here, but a test may play the host."""
        _ = self._current
        self._write(effect.commit, unstamped_rev(effect.commit.tag))
        self._unstamped += logged(effect.commit)

    def _stamp(self, effect: Stamp) -> LogHead:
        names, self._unstamped = self._unstamped, []
        if not names:
            return self._current
        head = LogHead(self._current.rev + 1, effect.tag, self._current.epoch)
        for node in self._nodes.keys() & names:
            self._nodes[node] = replace(self._nodes[node], rev=head.rev)
        self._log(head, names)
        return head

    def _write(self, effect: Commit, rev: int) -> None:
        revs = {node: stored.rev for node, stored in self._nodes.items()}
        check_commit(effect, revs, self._owners)
        records = [encode_node(put.node) for put in effect.puts]
        for put, record in zip(effect.puts, records, strict=True):
            before = self._nodes.get(put.node.id)
            digest = before.digest if before is not None and put.digest is None else put.digest
            if before is not None and before.digest is not None:
                del self._owners[before.digest]
            if digest is not None:
                self._owners[digest] = put.node.id
            self._nodes[put.node.id] = _Stored(record, rev, digest)

    def _log(self, head: LogHead, names: Iterable[str]) -> None:
        self._changes += [Change(head.rev, name) for name in names]
        self._tags[head.rev] = head.tag
        self._head = head
        forgotten = forgets_through(head.rev, self._history_max)
        if forgotten is not None:
            self._changes = [change for change in self._changes if change.rev > forgotten]
            self._tags = {rev: tag for rev, tag in self._tags.items() if rev > forgotten}

    def _record_usage(self, effect: RecordUsage) -> int:
        _ = self._current
        for row in effect.rows:
            known = self._usage.get(row.key)
            self._usage[row.key] = row if known is None else known.plus(row)
        return len(effect.rows)

    def _read_usage(self, effect: ReadUsage) -> dict[str, UsageRow]:
        _ = self._current
        return {key: self._usage[key] for key in effect.keys if key in self._usage}

    def _row(self, node: str) -> Row | None:
        stored = self._nodes.get(node)
        if stored is None:
            return None
        return read_row(node, stored.record, stored.rev, stored.digest)


def _matches(row: Row, effect: ListNodes) -> bool:
    parent = row.node.parent if isinstance(row.node, APIKey) else None
    return (
        row.node.kind == effect.kind
        and effect.tenant in {None, row.node.tenant}
        and effect.parent in {None, parent}
    )

"""Every way to take a message for more than a hint, or for less, patched into the real code.

A change is announced as it was committed because what is announced is what the commit wrote, so
what could go wrong there is that something else is offered under its revision. That the MAC of
messages is checked is not found here: whatever anybody says costs a sync at most.
"""

# ruff: noqa: SLF001 - what is weakened is within

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from keybound.caches.local import LocalCache
from keybound.core import announcing
from keybound.core.fence import Fence, Heard
from tests.simulation.weakenings import _now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from keybound.core.announcing import Announcer
    from keybound.core.effects import LogHead, Put, Steps, SyncAnswer
    from keybound.core.fence import Applied

    MessageWeakening = Callable[[pytest.MonkeyPatch], None]


def _after_hints(
    patch: pytest.MonkeyPatch, then: Callable[[LocalCache, tuple[str, ...], int], None]
) -> None:
    """Do something besides with every message that is ahead of the last sync."""
    hint = LocalCache.hint

    def hinted(self: LocalCache, nodes: Iterable[str], rev: int, epoch: bytes) -> Heard:
        heard = hint(self, nodes, rev, epoch)
        if heard is Heard.AHEAD:
            then(self, tuple(nodes), rev)
        return heard

    patch.setattr(LocalCache, "hint", hinted)


def message_moves_since(patch: pytest.MonkeyPatch) -> None:
    """A message is taken for what a sync has seen."""

    def then(cache: LocalCache, _nodes: tuple[str, ...], rev: int) -> None:
        cache.fence.since = max(cache.fence.since, rev)

    _after_hints(patch, then)


def message_renews_the_lease(patch: pytest.MonkeyPatch) -> None:
    """Whoever hears messages does not sync."""

    def then(cache: LocalCache, _nodes: tuple[str, ...], _rev: int) -> None:
        if cache.fence.synced_at is not None:
            cache.fence.synced_at = _now(cache)
            cache._lease(cache._bound)

    _after_hints(patch, then)


def message_raises_a_floor(patch: pytest.MonkeyPatch) -> None:
    """What a message says stays required, although no sync ever brings it."""

    def then(cache: LocalCache, nodes: tuple[str, ...], rev: int) -> None:
        for node in nodes:
            cache.fence.raise_floor(node, rev)

    _after_hints(patch, then)


def message_raises_the_floor_of_all(patch: pytest.MonkeyPatch) -> None:
    """A message about one node is required of all, and stays so."""

    def then(cache: LocalCache, _nodes: tuple[str, ...], rev: int) -> None:
        cache.fence.floor_all = max(cache.fence.floor_all, rev)

    _after_hints(patch, then)


def _with_hinted(patch: pytest.MonkeyPatch, choose: Callable[[Fence, int], int]) -> None:
    apply = Fence.apply

    def applied(self: Fence, answer: SyncAnswer, *, hinted: int, **asked: Any) -> Applied:
        return apply(self, answer, hinted=choose(self, hinted), **asked)

    patch.setattr(Fence, "apply", applied)


def hints_for_ever(patch: pytest.MonkeyPatch) -> None:
    """What no sync brings is required until the process ends."""
    hint = Fence.hint

    def stubborn(self: Fence, nodes: Iterable[str], rev: int, epoch: bytes) -> Heard:
        heard = hint(self, nodes, rev, epoch)
        for node in nodes if heard is Heard.AHEAD else ():
            if node in self._hints:
                self._hints[node] = self._hints[node]._replace(number=1 << 60)
        return heard

    patch.setattr(Fence, "hint", stubborn)


def hints_dropped_by_any_sync(patch: pytest.MonkeyPatch) -> None:
    """A sync that was sent before a message came settles what it said."""
    _with_hinted(patch, lambda fence, _hinted: fence.hinted)


def a_repetition_is_settled_with_the_first(patch: pytest.MonkeyPatch) -> None:
    """A change of this worker's own counts as old as a message that said more of the same node."""
    wrote = Fence.wrote

    def writing(self: Fence, nodes: Iterable[str], head: LogHead) -> None:
        names, before = tuple(nodes), dict(self._hints)
        wrote(self, names, head)
        for node in names:
            if node in before and node in self._hints:
                self._hints[node] = before[node]

    patch.setattr(Fence, "wrote", writing)


def loads_below_a_hint(patch: pytest.MonkeyPatch) -> None:
    """What was loaded enters the cache although a message says that it is old."""
    admit = LocalCache.admit

    def trusting(self: LocalCache, *args: Any, **read: Any) -> bool:
        hints, self.fence._hints = self.fence._hints, {}
        try:
            return admit(self, *args, **read)
        finally:
            self.fence._hints = hints

    patch.setattr(LocalCache, "admit", trusting)


def entries_outlive_a_message(patch: pytest.MonkeyPatch) -> None:
    """A message counts for what is loaded, and not for what is cached."""

    def gentle(self: LocalCache, nodes: Iterable[str], rev: int, epoch: bytes) -> Heard:
        raised = set(self.fence.raised)
        heard = self.fence.hint(nodes, rev, epoch)
        self.fence.raised = raised
        return heard

    patch.setattr(LocalCache, "hint", gentle)


def absence_unannounced(patch: pytest.MonkeyPatch) -> None:
    """That a key was issued is not said to those who know that there is none."""
    patch.setattr(announcing, "names_of", lambda node_id, _digest: (node_id,))


def offers_what_was_there_before(patch: pytest.MonkeyPatch) -> None:
    """What is offered with a change is another record of the node than the one committed."""
    announce = announcing.Announcer.announce

    def hasty(self: Announcer, put: Put, head: LogHead, **more: Any) -> Steps[bool]:
        before = structs.replace(put.node, enabled=True, revoked_at=None)
        return announce(self, replace(put, node=before), head, **more)

    patch.setattr(announcing.Announcer, "announce", hasty)


MESSAGE_WEAKENINGS: tuple[MessageWeakening, ...] = (
    message_moves_since,
    message_renews_the_lease,
    message_raises_a_floor,
    message_raises_the_floor_of_all,
    hints_for_ever,
    hints_dropped_by_any_sync,
    a_repetition_is_settled_with_the_first,
    loads_below_a_hint,
    entries_outlive_a_message,
    absence_unannounced,
    offers_what_was_there_before,
)

"""Every way to believe the shared cache more than the protocol does, patched into the real code."""

# ruff: noqa: SLF001 - what is weakened is within

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.caches.local import LocalCache
from keybound.core.fence import Fence
from keybound.core.shared import SharedRecords
from keybound.core.sharing import Search
from tests.simulation.weakenings import _now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeGuard

    import pytest

    from keybound.core.effects import LogHead, Moment
    from keybound.core.shared import SharedRecord

    SharedWeakening = Callable[[pytest.MonkeyPatch], None]


def _with(patch: pytest.MonkeyPatch, name: str, answer: Callable[..., Any]) -> None:
    """Let the fence answer something else, but only where shared records are judged."""
    taken, admit = Search._taken, LocalCache.admit

    def taking(self: Search, *record: Any) -> TypeGuard[SharedRecord]:
        with patch.context() as inner:
            inner.setattr(Fence, name, answer)
            return taken(self, *record)

    def admitting(self: LocalCache, *args: Any, proof: Moment | None, **read: Any) -> bool:
        with patch.context() as inner:
            if proof is None:
                inner.setattr(Fence, name, answer)
            return admit(self, *args, proof=proof, **read)

    patch.setattr(Search, "_taken", taking)
    patch.setattr(LocalCache, "admit", admitting)


def shared_floors_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A record is taken although a floor is above it."""
    _with(patch, "floor", lambda _fence, _node: 0)


def shared_revisions_unseen(patch: pytest.MonkeyPatch) -> None:
    """A record is taken although nobody here has seen its revision: a restore may have lost it."""
    _with(patch, "has_seen", lambda _fence, _head: True)


def shared_records_prove(patch: pytest.MonkeyPatch) -> None:
    """A record counts as if the store had just said it."""
    admit = LocalCache.admit

    def proved(self: LocalCache, *args: Any, proof: Moment | None, **read: Any) -> bool:
        return admit(self, *args, proof=proof or _now(self), **read)

    patch.setattr(LocalCache, "admit", proved)


def mac_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Whatever looks like a record is one."""
    patch.setattr("keybound.core.shared.hmac.compare_digest", lambda _one, _other: True)


def mac_without_the_name(patch: pytest.MonkeyPatch) -> None:
    """A record is good wherever it lies."""
    mac = SharedRecords._mac
    patch.setattr(
        SharedRecords, "_mac", lambda self, _name, start, body: mac(self, b"", start, body)
    )


def mac_without_the_record(patch: pytest.MonkeyPatch) -> None:
    """A record is good whatever it says, if it is at its place and of its time."""
    mac = SharedRecords._mac
    patch.setattr(
        SharedRecords, "_mac", lambda self, name, start, _body: mac(self, name, start, b"")
    )


def _one_head_for_all(
    patch: pytest.MonkeyPatch, choose: Callable[[Mapping[str, LogHead]], LogHead]
) -> None:
    admit = LocalCache.admit

    def merged(
        self: LocalCache, *args: Any, heads: Mapping[str, LogHead], proof: Moment | None
    ) -> bool:
        if proof is None:
            heads = dict.fromkeys(heads, choose(heads))
        return admit(self, *args, heads=heads, proof=proof)

    # The search would refuse it earlier, each node for itself.
    _with(patch, "floor", lambda _fence, _node: 0)
    patch.setattr(LocalCache, "admit", merged)


def newest_head_for_all(patch: pytest.MonkeyPatch) -> None:
    """A chain of several snapshots counts as if all of it were of the newest."""
    _one_head_for_all(patch, lambda heads: max(heads.values()))


def first_head_for_all(patch: pytest.MonkeyPatch) -> None:
    """A chain of several snapshots counts as if all of it were of the key's."""
    _one_head_for_all(patch, lambda heads: next(iter(heads.values())))


def no_epoch_and_no_tags(patch: pytest.MonkeyPatch) -> None:
    """Records of before a restore are found after it, and revisions are known by number alone."""
    name = SharedRecords._name
    patch.setattr(SharedRecords, "_name", lambda self, _epoch, what: name(self, b"", what))
    _with(patch, "has_seen", lambda fence, head: head.rev in fence._tags)


SHARED_WEAKENINGS: tuple[SharedWeakening, ...] = (
    shared_floors_unchecked,
    shared_revisions_unseen,
    shared_records_prove,
    mac_unchecked,
    mac_without_the_name,
    mac_without_the_record,
    newest_head_for_all,
    first_head_for_all,
    no_epoch_and_no_tags,
)

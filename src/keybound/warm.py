"""The warm request: a key that is known, making a request that was allowed before.

Everything is bound once in a closure, since looking names up would be a sixth of the cost. A
decision is only repeated here, never taken: for the very same chain, method, path and peer, while
the lease holds, the chain is alive and no lifetime began or ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from keybound.caches.local import Entry, LocalCache
    from keybound.clocks import Clock
    from keybound.core.decision import Allowed
    from keybound.core.head import Head
    from keybound.core.reasons import Reason
    from keybound.core.told import Told

    Decisions: TypeAlias = dict[
        tuple[bytes, str, str, str | None, Told | None], tuple[Entry, Allowed]
    ]
    Raw: TypeAlias = bytes | Reason | None

T = TypeVar("T")


def warm_path(
    cache: LocalCache,
    decisions: Decisions,
    clock: Clock,
    *,
    new_hasher: Callable[[], Any],
    by_terms: Callable[..., Allowed | None],
    judge: Callable[..., T],
    note: Callable[[Entry], None],
) -> Callable[..., Allowed | T]:
    """Return the call that repeats a remembered decision, and asks others for all others.

    First ``by_terms``, which knows more keys than have decisions that are remembered; what that
    leaves is ``judge``'s.

    Its arguments are method, path, peer, the raw value of the one credential or why there is not
    one value, and where there is more to it what the request told and its head. It does no I/O
    and takes no lock. ``note`` is called at the first use of an entry since it was looked at.
    """
    decided = decisions.get
    wall_clock = clock.wall
    boot_clock = clock.boot

    def decide(  # noqa: PLR0917 - keywords cost more than all the rest
        method: str,
        path: str,
        peer: str | None,
        raw: Raw,
        told: Told | None = None,
        head: Head | None = None,
    ) -> Allowed | T:
        index = b""
        if raw.__class__ is bytes:
            hasher = new_hasher()
            hasher.update(raw)
            index = hasher.digest()
            known = decided((index, method, path, peer, told))
            if known is not None:
                entry, allowed = known
                wall = wall_clock()
                # ``alive`` last: what a sync ended is dead before the lease is extended.
                if (
                    allowed.begins <= wall < allowed.ends
                    and wall <= cache.lease_wall
                    and boot_clock() <= cache.lease_boot
                    and entry.alive
                ):
                    # CPython changes threads at calls and at ends of loops: none of this is lost.
                    entry.uses += 1
                    entry.used_at = wall
                    if not entry.noted:
                        note(entry)
                    return allowed
            else:
                by_its_terms = by_terms(index, method, path, peer, told)
                if by_its_terms is not None:
                    return by_its_terms
        return judge(method, path, peer, raw, told, head, index)

    return decide

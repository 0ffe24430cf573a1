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

    Decisions: TypeAlias = dict[tuple[Entry, str, str, str | None, Told | None], Allowed]
    Raw: TypeAlias = bytes | Reason | None

T = TypeVar("T")


def warm_path(
    cache: LocalCache,
    decisions: Decisions,
    clock: Clock,
    *,
    new_hasher: Callable[[], Any],
    judge: Callable[..., T],
) -> Callable[..., Allowed | T]:
    """Return the call that repeats a remembered decision, and asks ``judge`` for all others.

    Its arguments are method, path, peer, the raw value of the one credential or why there is not
    one value, and where there is more to it what the request told and its head. It does no I/O
    and takes no lock.
    """
    entry_at = cache.entries.get
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
        index, entry = b"", None
        if raw.__class__ is bytes:
            hasher = new_hasher()
            hasher.update(raw)
            entry = entry_at(index := hasher.digest())
            if entry is not None:
                wall = wall_clock()
                # ``alive`` last: what a sync ended is dead before the lease is extended.
                if wall <= cache.lease_wall and boot_clock() <= cache.lease_boot and entry.alive:
                    known = decided((entry, method, path, peer, told))
                    if known is not None and known.begins <= wall < known.ends:
                        entry.used = True
                        return known
        return judge(method, path, peer, raw, told, head, index, entry)

    return decide

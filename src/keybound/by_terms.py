"""The cold request of a key that is packed: allowed as other keys of the same terms were.

Like the warm request it is only ever repeated, and only allowed: whatever else there is to it is
decided by compiling the key. Nothing is unpacked but an id, and the cache is not locked.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, TypeAlias

from keybound.core.decision import Allowed
from keybound.core.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.caches.local import LocalCache
    from keybound.clocks import Clock
    from keybound.core.terms import Terms
    from keybound.core.told import Told

    About: TypeAlias = tuple[Terms, str, str, str | None, Told | None]
    Permitted: TypeAlias = dict[About, tuple[str | None]]


def by_terms(
    cache: LocalCache, permitted: Permitted, clock: Clock, *, used: Callable[[str, float], None]
) -> Callable[[bytes, str, str, str | None, Told | None], Allowed | None]:
    """Return the call that allows a request to a packed key, or leaves it to others.

    ``permitted`` are requests that terms were found to permit, each with the tenant that it was
    about. ``used`` is called with the id of the key and the time. A key that comes again soon is
    left to others as well, who keep it compiled.
    """
    tenants = permitted.get
    wall_clock = clock.wall
    boot_clock = clock.boot

    def decide(
        index: bytes, method: str, path: str, peer: str | None, told: Told | None
    ) -> Allowed | None:
        version = cache.version
        key = cache.peek(index)
        if key is None:
            return None
        about = tenants((key.terms, method, path, peer, told))
        if about is None:
            return None
        wall = wall_clock()
        if (
            wall < key.ends
            and wall <= cache.lease_wall
            and boot_clock() <= cache.lease_boot
            and not cache.comes_again(index)
            # Last: no floor was raised between the two looks at it.
            and version == cache.version
            and not version % 2
        ):
            used(key.id, wall)
            identity = Identity(key, key.terms, about[0], key.terms.auth, key.ends)
            return Allowed(identity, -inf, key.ends)
        return None

    return decide

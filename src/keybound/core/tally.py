"""What look-ups came to, counted for whoever measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    Bringer = Literal["message", "sync"]


@dataclass(slots=True)
class Tally:
    """Plain numbers that only ever grow; threads may lose one now and then.

    ``from_shared`` and ``from_store``: keys that were loaded from there. ``joined``: requests that
    waited for the question of another. ``lapsed``: look-ups that had to sync first, since the
    lease was out. ``outdated`` and ``forged``: records of the shared cache that were refused.
    ``missed``: requests that were let in after such a load.

    ``fenced`` is told of changes made elsewhere when this process first holds to them: what brought
    them, the seconds since they were committed, and how many they are.
    """

    from_shared: int = 0
    from_store: int = 0
    joined: int = 0
    lapsed: int = 0
    outdated: int = 0
    forged: int = 0
    missed: int = 0
    fenced: Callable[[Bringer, float, int], None] | None = None

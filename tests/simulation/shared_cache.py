"""A shared cache that is out to deceive: what it answers need not be what anybody wrote last.

It keeps every value that was ever written, so that it may bring any of them back, under any name;
what it makes up itself lacks the secret. Everything that is written reaches it late, or never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from keybound.core.effects import Offer

OFFERS_MAX = 12
WRITTEN_MAX = 200


class SimulatedCache:
    """Values by name, in the hands of an adversary."""

    def __init__(self, chance: random.Random) -> None:
        """Begin empty."""
        self.values: dict[bytes, bytes] = {}
        self.offers: list[Offer] = []
        self.answered = 0
        self._written: list[tuple[bytes, bytes]] = []
        self._chance = chance

    def read(self, names: tuple[bytes, ...]) -> tuple[bytes | None, ...]:
        """Answer what is there now."""
        values = tuple(self.values.get(name) for name in names)
        self.answered += any(value is not None for value in values)
        return values

    def take(self, offers: tuple[Offer, ...]) -> None:
        """Note what is to be written some time; the oldest of too many is lost."""
        self.offers = [*self.offers, *offers][-OFFERS_MAX:]

    def write(self, number: int) -> None:
        """Let one of the values that are on their way arrive: set if newer."""
        if not self.offers:
            return
        self.keep(self.offers.pop(number % len(self.offers)))

    def keep(self, offer: Offer) -> None:
        """Keep a value, unless what is there is newer."""
        there = self.values.get(offer.name, b"")
        newer = there[:1] == b"1" and there[1:21].isdigit() and there[:21] > offer.value[:21]
        if offer.replace or not newer:
            self.values[offer.name] = offer.value
        self._written = [*self._written, (offer.name, offer.value)][-WRITTEN_MAX:]

    def befall(self, what: str) -> None:
        """Let one thing happen to what is there."""
        if self._written:
            _MISDEEDS[what](self)

    def lose(self) -> None:
        """Lose everything that is on its way."""
        self.offers.clear()

    def evict(self) -> None:
        """Lose one value."""
        self.values.pop(self._a_name(), None)

    def flush(self) -> None:
        """Lose every value."""
        self.values.clear()

    def resurrect(self) -> None:
        """Serve what was there once."""
        name, value = self._chance.choice(self._written)
        self.values[name] = value

    def misplace(self) -> None:
        """Serve a value of another name; half the time one of the same epoch and revision."""
        _, value = self._chance.choice(self._written)
        self.values[self._a_name()] = value

    def forge(self) -> None:
        """Enable whatever is there, or make it newer than it is, without the secret."""
        name = self._a_name()
        value = self.values.get(name) or self._chance.choice(self._written)[1]
        enabled = value.replace(b'"enabled":false', b'"enabled":true')
        later = max((other for _, other in self._written), key=lambda other: other[:21])
        self.values[name] = self._chance.choice((enabled, later[:21] + enabled[21:]))

    def _a_name(self) -> bytes:
        """Return a name that was written lately, as those are the ones that are read."""
        return self._chance.choice(self._written[-20:])[0]


_MISDEEDS: dict[str, Callable[[SimulatedCache], None]] = {
    "lose": SimulatedCache.lose,
    "evict": SimulatedCache.evict,
    "flush": SimulatedCache.flush,
    "resurrect": SimulatedCache.resurrect,
    "misplace": SimulatedCache.misplace,
    "forge": SimulatedCache.forge,
}

MISDEEDS = tuple(_MISDEEDS)

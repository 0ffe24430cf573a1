"""Messages on their way: late, lost, repeated, forged, and some that tell of what never was.

Whoever can publish has no secret, but keeps what was said. Whoever has the secret may say of any
node that it changed: as a store does whose last changes are lost, when they are heard of late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from keybound.core.messages import Message, Messages

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from keybound.core.secret import Secret
    from tests.simulation.truth import Question

WAITING_MAX = 24
SAID_MAX = 100

Turned = tuple[tuple["Question", int], ...]


class Parcel(NamedTuple):
    """A message on its way to one worker, and which verdicts its change turned, if it is true."""

    worker: int
    payload: bytes
    turned: Turned


class SimulatedChannel:
    """Every message that was ever published, and those that are on their way."""

    def __init__(self, chance: random.Random, secret: Secret, *, workers: int) -> None:
        """Begin silent."""
        self.waiting: list[Parcel] = []
        self.nodes: Sequence[str] = ()
        self._said: list[tuple[bytes, Turned]] = []
        self._messages = Messages(secret)
        self._workers = workers
        self._chance = chance

    def publish(self, payload: bytes, turned: Turned = ()) -> None:
        """Send a message to every worker; the oldest of too many is lost."""
        self._said = [*self._said, (payload, turned)][-SAID_MAX:]
        self._send(payload, turned)

    def take(self, number: int) -> Parcel | None:
        """Take one message that is on its way, whichever."""
        return self.waiting.pop(number % len(self.waiting)) if self.waiting else None

    def befall(self, what: str) -> None:
        """Let one thing happen to what is said."""
        if self._said:
            _MISUSES[what](self)

    def lose(self) -> None:
        """Lose everything that is on its way."""
        self.waiting.clear()

    def repeat(self) -> None:
        """Say again what was said, however long ago that was."""
        self._send(*self._chance.choice(self._said))

    def forge(self) -> None:
        """Say what somebody without the secret makes of a message."""
        payload, _ = self._chance.choice(self._said)
        place = self._chance.randrange(len(payload))
        self._send(payload[:place] + self._chance.randbytes(1) + payload[place + 1 :], ())

    def invent(self) -> None:
        """Say, with the secret, that something changed that did not."""
        payload, _ = self._chance.choice(self._said[-5:])
        message = self._messages.decode(payload)
        assert message is not None
        rev = message.rev + self._chance.choice((-1, 0, 1, 2, 5, 1 << 40))
        nodes = self._chance.sample(self.nodes, min(2, len(self.nodes)))
        invented = Message(message.epoch, tuple(nodes), max(0, rev), message.committed_at)
        self._send(self._messages.encode(invented), ())

    def _send(self, payload: bytes, turned: Turned) -> None:
        parcels = [Parcel(worker, payload, turned) for worker in range(self._workers)]
        self.waiting = [*self.waiting, *parcels][-WAITING_MAX:]


_MISUSES: dict[str, Callable[[SimulatedChannel], None]] = {
    "lose": SimulatedChannel.lose,
    "repeat": SimulatedChannel.repeat,
    "forge": SimulatedChannel.forge,
    "invent": SimulatedChannel.invent,
}

MISUSES = tuple(_MISUSES)

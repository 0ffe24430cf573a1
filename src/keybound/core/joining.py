"""One question at a time: who asks what is being asked already waits for that instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keybound.core.effects import Effect

if TYPE_CHECKING:
    from concurrent.futures import Future

    from keybound.core.effects import Steps


class Flights(Protocol):
    """Questions under way, by what they are about; each call is atomic for threads."""

    def join(self, about: bytes) -> Future[None] | None:
        """Return what to wait for, or ``None`` for whoever has to ask, and then ``land``."""
        ...

    def land(self, about: bytes, error: Exception | None = None) -> None:
        """Let everybody who waits go on, or fail as this question did."""
        ...


@dataclass(frozen=True, slots=True)
class Join(Effect[None]):
    """Wait for the end of what somebody else asks; raises what went wrong with it."""

    other: Future[None]


class Unshared:
    """The flights of a worker that does one thing at a time: nobody is ever waited for."""

    def join(self, about: bytes) -> None:
        """Let everybody ask."""

    def land(self, about: bytes, error: Exception | None = None) -> None:
        """Let nobody go on: nobody waits."""


def alone(flights: Flights, about: bytes, steps: Steps[None]) -> Steps[bool]:
    """Take these steps unless somebody takes them already, and wait for the end of that.

    Returns whether they were taken here; raises what went wrong with them, there or here. Whoever
    is cancelled while taking them lets another one begin anew.
    """
    other = flights.join(about)
    if other is not None:
        yield Join(other)
        return False
    failure: Exception | None = None
    try:
        yield from steps
    except Exception as error:
        failure = error
        raise
    finally:
        flights.land(about, failure)
    return True

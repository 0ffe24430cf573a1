"""Which HTTP methods a key may use: exact names, because methods are case-sensitive (RFC 9110)."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from keybound.core.errors import LimitError
from keybound.core.limits.clause import ALL_OR_NONE, EVERY, Clause, listed, members, shown
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json

# RFC 9110 section 5.6.2, without "*": a method is never a pattern.
_TOKEN = frozenset(f"{digits}{ascii_letters}!#$%&'+-.^_`|~")


@dataclass(frozen=True, slots=True)
class Methods(Clause):
    """The method must be one of these, to the letter; ``WEBSOCKET`` is a WebSocket handshake."""

    dimension = "methods"
    choices = ALL_OR_NONE

    names: frozenset[str]

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read method names, as text or list; ``*`` among them is no clause."""
        names = members(cls.dimension, value)
        for name in names:
            if name != EVERY:
                _check(name)
        return None if EVERY in names else cls(frozenset(names))

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the method is one of these."""
        return facts.method in self.names

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other's methods are all among these; exact."""
        return isinstance(other, Methods) and other.names <= self.names

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.METHOD_NOT_ALLOWED

    def describe(self) -> str:
        """Return the methods in order."""
        return listed(self.names)

    def dump(self) -> Json:
        """Return the methods in order."""
        return sorted(self.names)


def _check(name: str) -> None:
    if not _TOKEN.issuperset(name):
        raise LimitError(
            Methods.dimension, f"{shown(name)} is no method", fix="write names such as GET, POST"
        )
    if name != name.upper():
        raise LimitError(
            Methods.dimension, f"{shown(name)} is not upper case", fix=f"write {name.upper()!r}"
        )

"""Which scopes a key has: names that routes ask for, granted one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keybound.core.errors import LimitError
from keybound.core.limits.clause import EVERY, Clause, listed, members, shown
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json

# RFC 6749 section 3.3: printable ASCII without blank, quote and backslash.
_SCOPE_TOKEN = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('"\\')


@dataclass(frozen=True, slots=True)
class Scopes(Clause):
    """The request may ask for these scopes only; ``*`` is a name like any other until `widened`."""

    dimension = "scopes"
    choices = "write [] for none"

    names: frozenset[str]
    wide: bool = False

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read scope names, as text or list; ``*`` is kept, and by itself grants nothing."""
        names = members(cls.dimension, value)
        for name in names:
            if not _SCOPE_TOKEN.issuperset(name):
                raise LimitError(
                    cls.dimension,
                    f"{shown(name)} is no scope",
                    fix="use printable ASCII without blanks, quotes and backslashes",
                )
        return cls(frozenset(names))

    def widened(self) -> Self:
        """Return the clause for a site where a ``*`` among the names grants every scope."""
        return replace(self, wide=True) if EVERY in self.names else self

    def grants(self, name: str) -> bool:
        """Say whether a scope is granted."""
        return self.wide or name in self.names

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether all scopes that the route asks for are granted."""
        return self.wide or self.names.issuperset(facts.scopes)

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other's scopes are all granted here; exact."""
        return isinstance(other, Scopes) and (
            self.wide or (not other.wide and other.names <= self.names)
        )

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.INSUFFICIENT_SCOPE

    def describe(self) -> str:
        """Return the names in order."""
        return listed(self.names)

    def dump(self) -> Json:
        """Return the names in order; whether ``*`` is wide is the site's to say, every time."""
        return sorted(self.names)

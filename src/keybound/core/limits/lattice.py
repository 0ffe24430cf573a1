"""Limits: a frozen set of clauses, and the one table of the dimensions there are.

Narrowing is adding clauses, so nothing here can widen: ``a.meet(b)`` permits what both permit.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from enum import Enum, auto
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, Never, TypeAlias, cast, final

from keybound.core.errors import LimitError
from keybound.core.limits.dimensions import (
    BUILT_IN,
    BUILT_IN_PLACES,
    DIMENSIONS,
    MOMENTS,
    read_clauses,
)
from keybound.core.limits.lifetime import EXPIRES_AT, NOT_BEFORE, Lifetime, combined
from keybound.core.limits.scopes import Scopes
from keybound.core.limits.stored import (
    PARSE_ERRORS,
    Unreadable,
    canonical,
    dump_clauses,
    load_clauses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Clause, Json

    Names: TypeAlias = str | Sequence[str] | AbstractSet[str]

LimitsData: TypeAlias = "dict[str, Json]"
"""What limits are stored as: for each dimension the list of its clauses."""

CLAUSES_MAX: Final = 64
"""Clauses of one `Limits`; meeting adds them up."""


_SEVERAL: Final = 2


class _Absent(Enum):
    ABSENT = auto()


_ABSENT: Final = _Absent.ABSENT


# No dataclass: msgspec would take one apart by itself, and never ask `dump` and `load`.
@final
class Limits:
    """What is permitted, in every dimension; ``Limits()`` permits everything.

    Iterates over its clauses in the order in which a request is checked. ``compiled`` is a memory
    of what others make of all but the lifetime, and no part of the value: many nodes share that.
    """

    __slots__ = ("clauses", "compiled")

    clauses: tuple[Clause, ...]
    compiled: dict[object, Any]

    def __init__(
        self,
        *,
        tenants: Names | Literal[_Absent.ABSENT] = _ABSENT,
        networks: Names | Literal[_Absent.ABSENT] = _ABSENT,
        methods: Names | Literal[_Absent.ABSENT] = _ABSENT,
        read_only: bool | Literal[_Absent.ABSENT] = _ABSENT,
        models: Names | Mapping[str, str] | Literal[_Absent.ABSENT] = _ABSENT,
        scopes: Names | Literal[_Absent.ABSENT] = _ABSENT,
        hours: Names | Literal[_Absent.ABSENT] = _ABSENT,
        header_only: bool | Literal[_Absent.ABSENT] = _ABSENT,
        not_before: datetime | str | Literal[_Absent.ABSENT] = _ABSENT,
        expires_at: datetime | str | Literal[_Absent.ABSENT] = _ABSENT,
        **custom: object,
    ) -> None:
        """Read the values; raises `LimitError` with the field, the problem and the fix."""
        values: dict[str, object] = {
            "tenants": tenants,
            "networks": networks,
            "methods": methods,
            "read_only": read_only,
            "models": models,
            "scopes": scopes,
            "hours": hours,
            "header_only": header_only,
            NOT_BEFORE: not_before,
            EXPIRES_AT: expires_at,
        }
        given = {name: value for name, value in values.items() if value is not _ABSENT}
        object.__setattr__(self, "clauses", _ordered(read_clauses(given | custom)))
        object.__setattr__(self, "compiled", {})

    @classmethod
    def of_clauses(cls, clauses: Iterable[Clause]) -> Limits:
        """Return the limits that these clauses make together."""
        limits = object.__new__(cls)
        object.__setattr__(limits, "clauses", _ordered(clauses))
        object.__setattr__(limits, "compiled", {})
        return limits

    @classmethod
    def read(cls, values: Mapping[str, object]) -> Limits:
        """Return ``Limits(**values)`` for values that somebody else typed."""
        return cls.of_clauses(read_clauses(values))

    @classmethod
    def load(cls, stored: object) -> Limits:
        """Read what `dump` returned; what cannot be read exactly permits nothing.

        Raises `LimitError` only if it is no mapping of names, or too large.
        """
        return cls.of_clauses(load_clauses(stored))

    @staticmethod
    def check_order(dimension: str) -> int:
        """Return the place of a dimension in a check; unknown ones are last."""
        place = BUILT_IN_PLACES.get(dimension)
        if place is not None:
            return place
        names = [*DIMENSIONS]
        return names.index(dimension) if dimension in DIMENSIONS else len(names)

    def __iter__(self) -> Iterator[Clause]:
        """Iterate over the clauses in the order in which a request is checked."""
        return iter(self.clauses)

    def living(self, stored: object) -> Limits | None:
        """Return these limits, that have no lifetime, with a stored one; ``None`` if it is not one.

        What is made of these holds for all who differ in that alone.
        """
        if type(stored) is not list or len(cast("list[object]", stored)) != 1:
            return None
        given = cast("list[object]", stored)[0]
        try:
            life = Lifetime.as_dumped(given) or Lifetime.parse(given)
        except PARSE_ERRORS:
            return None
        return None if life is None else self.living_with((life,))

    def living_with(self, lives: tuple[Lifetime, ...]) -> Limits:
        """Return these limits with other lifetimes, all else being the same objects."""
        limits = object.__new__(Limits)
        object.__setattr__(limits, "clauses", (*lives, *self.clauses[len(self.lives) :]))
        object.__setattr__(limits, "compiled", self.compiled)
        return limits

    @property
    def lives(self) -> tuple[Lifetime, ...]:
        """Return the lifetimes; they are always first."""
        clauses = self.clauses
        count = 0
        while count < len(clauses) and type(clauses[count]) is Lifetime:
            count += 1
        return cast("tuple[Lifetime, ...]", clauses[:count])

    @property
    def built_in(self) -> bool:
        """Return whether every clause is of a dimension that is always there, and readable."""
        return all(type(clause) in BUILT_IN for clause in self.clauses)

    def of(self, dimension: str) -> tuple[Clause, ...]:
        """Return the clauses of one dimension."""
        return tuple(clause for clause in self.clauses if clause.dimension == dimension)

    def meet(self, other: Limits) -> Limits:
        """Return the limits that permit exactly what both permit."""
        return Limits.of_clauses((*self.clauses, *other.clauses))

    def replaced(self, others: Mapping[str, Limits]) -> Limits:
        """Return these limits with those of some keywords taken from others; the rest stays.

        Raises `LimitError` if the two moments no longer make a lifetime.
        """
        clauses = [clause for clause in self.clauses if clause.dimension not in others]
        clauses += [clause for name, other in others.items() for clause in other.of(name)]
        if not others.keys().isdisjoint(MOMENTS):
            both = others.keys() >= set(MOMENTS)
            clauses = [
                clause
                for clause in clauses
                if clause.dimension != Lifetime.dimension
                # One moment alone does not make an unreadable lifetime readable.
                or (isinstance(clause, Unreadable) and not both)
            ]
            clauses += combined(others.get(NOT_BEFORE, self), others.get(EXPIRES_AT, self))
        return Limits.of_clauses(clauses)

    def with_wildcard_scopes(self) -> Limits:
        """Return the limits for a site where the scope ``*`` grants every scope."""
        return Limits.of_clauses(
            clause.widened() if isinstance(clause, Scopes) else clause for clause in self.clauses
        )

    def permits(self, facts: RequestFacts, now: float) -> bool:
        """Say whether every clause answers ``True`` to a request at ``now`` (POSIX seconds)."""
        for clause in self.clauses:  # noqa: SIM110 -- a loop is twice as fast as all() here
            # A user's dimension may forget to return or to await: only True is a yes.
            if clause.permits(facts, now) is not True:
                return False
        return True

    def covers(self, other: Limits) -> bool:
        """Say whether every request that ``other`` permits passes here; unsure is ``False``."""
        return not other.exceeds(self)

    def exceeds(self, ceiling: Limits) -> tuple[Clause, ...]:
        """Return the clauses of the ceiling that these limits may reach beyond."""
        return tuple(
            above
            for above in ceiling.clauses
            if not any(_covers(above, mine) for mine in self.of(above.dimension))
        )

    def describe(self) -> dict[str, str]:
        """Return each limited dimension with its limit in words."""
        return {
            name: "; and ".join(clause.describe() for clause in clauses)
            for name, clauses in self._by_dimension()
        }

    def dump(self) -> LimitsData:
        """Return what `load` reads back as equal limits."""
        return {name: dump_clauses(clauses) for name, clauses in self._by_dimension()}

    def __setattr__(self, name: str, _value: object) -> Never:
        """Refuse: limits are values."""
        msg = f"cannot assign to field {name!r}"
        raise FrozenInstanceError(msg)

    def __reduce__(self) -> tuple[Callable[[Iterable[Clause]], Limits], tuple[tuple[Clause, ...]]]:
        """Copy and pickle by the clauses."""
        return Limits.of_clauses, (self.clauses,)

    def __eq__(self, other: object) -> bool:
        """Say whether the clauses are the same."""
        return isinstance(other, Limits) and set(self.clauses) == set(other.clauses)

    def __hash__(self) -> int:
        """Hash the clauses."""
        return hash(frozenset(self.clauses))

    def __repr__(self) -> str:
        """Return the expression that makes these limits."""
        layers = zip_longest(*(clauses for _, clauses in self._by_dimension()))
        calls = [f"Limits({', '.join(_keywords(layer))})" for layer in layers] or ["Limits()"]
        return calls[0] + "".join(f".meet({call})" for call in calls[1:])

    def _by_dimension(self) -> list[tuple[str, tuple[Clause, ...]]]:
        names = dict.fromkeys(clause.dimension for clause in self.clauses)
        return [(name, self.of(name)) for name in names]


def _ordered(clauses: Iterable[Clause]) -> tuple[Clause, ...]:
    """Return distinct clauses in the order of the table: those of one dimension by their text."""
    listed = tuple(clauses)
    if len(listed) < _SEVERAL:  # as the limits of most nodes, and one key is loaded on every miss
        return listed
    distinct = set(listed)
    if len(distinct) > CLAUSES_MAX:
        raise LimitError(
            "limits",
            f"have {len(distinct)} clauses, the most is {CLAUSES_MAX}",
            fix="write fewer, narrower ones",
        )
    unique = len({clause.dimension for clause in distinct}) == len(distinct)

    def place(clause: Clause) -> tuple[int, str, str]:
        text = "" if unique else canonical(clause.dump())
        return Limits.check_order(clause.dimension), clause.dimension, text

    return tuple(sorted(distinct, key=place))


def _covers(above: Clause, below: Clause) -> bool:
    # Clauses of one dimension are of one type, unless one of them is unreadable.
    return type(above) is type(below) and above.covers(below) is True


def _keywords(layer: Iterable[Clause | None]) -> Iterator[str]:
    for clause in layer:
        if isinstance(clause, Unreadable):
            yield f"{clause.dimension}=<unreadable>"
        elif isinstance(clause, Lifetime):
            yield from (f"{name}={moment!r}" for name, moment in clause.dump().items())
        elif clause is not None:
            yield f"{clause.dimension}={clause.dump()!r}"

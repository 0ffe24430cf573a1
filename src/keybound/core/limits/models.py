"""Which resources a key may read or write, by the name of their model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from keybound.core.errors import LimitError
from keybound.core.limits.clause import (
    ALL_OR_NONE,
    EVERY,
    Clause,
    check_count,
    check_name,
    listed,
    member,
    members,
    shown,
)
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from keybound.core.facts import Access, RequestFacts
    from keybound.core.limits.clause import Json

_RANK: Final[Mapping[str | None, int]] = {None: 0, "read": 1, "write": 2}


@dataclass(frozen=True, slots=True)
class Models(Clause):
    """Each model to ``read`` or ``write``, where write implies read; ``*`` is every other model."""

    dimension = "models"
    choices = ALL_OR_NONE

    grants: tuple[tuple[str, Access], ...]
    by_name: Mapping[str, Access] = field(init=False, repr=False, compare=False)
    default: Access | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Part the names from the default, so that a model called ``*`` is only a name."""
        by_name = dict(self.grants)
        object.__setattr__(self, "default", by_name.pop(EVERY, None))
        object.__setattr__(self, "by_name", by_name)

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read a mapping of names to access, or members ``name``, ``name:read``, ``name:write``.

        A bare name is writable. ``*`` with write and nothing else is no clause.
        """
        grants: dict[str, Access] = {}
        for name, access in _entries(value):
            check_name(cls.dimension, name)
            if EVERY in name and name != EVERY:
                raise LimitError(
                    cls.dimension,
                    f"{shown(name)} has '*' inside a name",
                    fix="write '*' alone for every other model, or the whole name",
                )
            if grants.setdefault(name, access) != access:
                raise LimitError(
                    cls.dimension, f"{shown(name)} is given read and write", fix="write it once"
                )
        if grants == {EVERY: "write"}:
            return None
        return cls(tuple(sorted(grants.items())))

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the model is granted, for what the request does to it."""
        return facts.model is not None and self.allows(facts.model, facts.access)

    def allows(self, model: str, access: Access) -> bool:
        """Say whether a model is granted for this access; the empty name never is."""
        return model != "" and self.by_name.get(model, self.default) in ("write", access)

    def covers(self, other: Clause, /) -> bool:
        """Say whether every model, named or not, may be used here as it may there; exact."""
        # "*" is in neither mapping, so it stands for all the names that nobody wrote.
        return isinstance(other, Models) and all(
            _RANK[self.by_name.get(name, self.default)]
            >= _RANK[other.by_name.get(name, other.default)]
            for name in {EVERY, *self.by_name, *other.by_name}
        )

    def reason(self, facts: RequestFacts, _now: float, /) -> Reason:
        """Tell a request without a model from one for a model that is not granted."""
        return Reason.MODEL_NOT_ALLOWED if facts.model else Reason.MODEL_UNRESOLVED

    def describe(self) -> str:
        """Return each name with its access."""
        return listed([f"{name} ({access})" for name, access in self.grants])

    def dump(self) -> Json:
        """Return the mapping."""
        return dict(self.grants)


def _entries(value: object) -> Iterable[tuple[str, Access]]:
    if not isinstance(value, Mapping):
        return [_split(item) for item in members(Models.dimension, value)]
    entries = cast("Mapping[object, object]", value)
    check_count(Models.dimension, entries)
    return [(member(Models.dimension, name), _access(name, entries[name])) for name in entries]


def _split(item: str) -> tuple[str, Access]:
    name, colon, tail = item.rpartition(":")
    if colon and not (name and tail):
        raise LimitError(
            Models.dimension, f"{shown(item)} lacks a part", fix="write 'name:read' or 'name:write'"
        )
    # Names may have colons themselves ("llama3:8b"), but none that looks like a misspelt access.
    if colon and tail.lower() in {"read", "write"}:
        return name, _access(name, tail)
    return item, "write"


def _access(name: object, access: object) -> Access:
    if access == "read":
        return "read"
    if access == "write":
        return "write"
    raise LimitError(
        Models.dimension,
        f"the access to {shown(str(name))} is neither 'read' nor 'write'",
        fix="write one of them, in lower case, or leave the name out",
    )

"""Dimensions of a site's own that do not do what they should: none of it is a yes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keybound.core.limits import Clause
from keybound.core.limits.dimensions import DIMENSIONS
from keybound.core.limits.dimensions import register as add
from keybound.core.reasons import Reason
from tests.security.outcomes import NotReplayableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from tests.security.cases import World


async def _later() -> bool:
    return True


def _coroutine() -> object:
    answer = _later()
    answer.close()  # nobody awaits it, which is said otherwise
    return answer


def _raises() -> object:
    msg = "it does not work"
    raise RuntimeError(msg)


BEHAVIOURS: dict[str, Callable[[], object]] = {
    "returns_coroutine": _coroutine,
    "returns_none": lambda: None,
    "returns_true": lambda: True,
    "returns_false": lambda: False,
    "returns_awaitable": _coroutine,
    "returns_one": lambda: 1,
    "returns_1": lambda: 1,
    "returns_int": lambda: 1,
    "returns_nan": lambda: math.nan,
    "returns_list": lambda: [1],
    "returns_dict": lambda: {"allowed": True},
    "returns_truthy": lambda: [1],
    "returns_string": lambda: "yes",
    "returns_object": object,
    "raises": _raises,
}

_made: list[str] = []


def _add(behaviour: str, name: str) -> None:
    """Add a dimension that answers every request in one way."""

    @dataclass(frozen=True, slots=True)
    class Odd(Clause):
        dimension = name
        text: str

        @classmethod
        def parse(cls, value: object, /) -> Self:
            return cls(repr(value))

        def permits(self, *_: Any) -> Any:
            return BEHAVIOURS[behaviour]()

        def covers(self, other: Clause, /) -> bool:
            return self == other

        def reason(self, *_: Any) -> Reason:
            return Reason.LIMIT_INVALID

        def describe(self) -> str:
            return "odd"

        def dump(self) -> Any:
            return 1

    add(Odd)
    _made.append(name)


def register(behaviour: str | None, world: World) -> None:
    """Add what a case asks for; `forget` takes it away again."""
    if behaviour is None:
        return
    if behaviour.startswith("raises"):  # whatever it is
        behaviour = "raises"
    if behaviour not in BEHAVIOURS:
        msg = f"no evaluator behaves like {behaviour!r}"
        raise NotReplayableError(msg)
    for record in (world.key or {}, *world.keys.values(), *world.groups.values()):
        for name in record.get("custom") or {}:
            if name not in DIMENSIONS:
                _add(behaviour, name)


def forget() -> None:
    """Take away what was added."""
    while _made:
        DIMENSIONS.pop(_made.pop(), None)

"""What a view declares of itself: the demands on it, by method, and its arguments as text."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import iscoroutinefunction

from keybound.core.declared import argument_text
from keybound.core.demands import Demand, joined
from keybound.core.facts import MAY_READ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Fields = Mapping[str, str | None]

T = TypeVar("T")

_LAYERS_MAX = 100
_REMEMBERED_MAX = 4_096


def is_async(function: object) -> bool:
    """Return whether calling this gives something to await."""
    # That of ``inspect`` does not see what is only marked, before Python 3.12.
    return bool(iscoroutinefunction(function))  # pyright: ignore[reportDeprecated]


def fields_of(kwargs: Mapping[str, object]) -> Fields:
    """Return the arguments of a view as text, as far as their text is what the view gets."""
    return {name: argument_text(value) for name, value in kwargs.items()}


def _remembered(
    find: Callable[[Callable[..., Any], str], T],
) -> Callable[[Callable[..., Any], str], T]:
    """Return a call that finds something of a view and a method once.

    Views are told apart by which they are: some have no hash, and some are equal to others.
    """
    known: dict[tuple[int, str], tuple[T, object]] = {}

    @wraps(find)
    def found(view: Callable[..., Any], method: str) -> T:
        at = id(view), method
        try:
            return known[at][0]
        except KeyError:
            answer = find(view, method)
        if len(known) >= _REMEMBERED_MAX:
            known.clear()
        known[at] = answer, view  # held, so that no other view gets its number
        return answer

    return found


@_remembered
def demand_of(view: Callable[..., Any], method: str) -> Demand | None:
    """Return what a view demands for a method, everything together; ``None`` for nothing.

    Raises ``InputError`` for demands that contradict each other.
    """
    found = _found(view, method)
    demand = joined(found.values(), path=getattr(view, "__qualname__", repr(view)))
    if demand is not None and demand.access == "read" and method not in MAY_READ:
        return Demand(scopes=demand.scopes, model=demand.model, tenant=demand.tenant)
    return demand


@_remembered
def demands_on(view: Callable[..., Any], method: str) -> frozenset[str]:
    """Return the names of the demands that ``demand_of`` puts together."""
    return frozenset(_found(view, method))


def falsely_read(view: Callable[..., Any]) -> list[str]:
    """Return the methods of a class of views that are said to only read, and change something.

    What is said of the whole class is meant for those of its methods that may read, if there are
    any.
    """
    kind: object = getattr(view, "view_class", None)
    if not isinstance(kind, type):
        return []
    names: Iterable[str] = getattr(kind, "http_method_names", ())
    answered = {name.upper() for name in names if _handler(kind, name)} - {"OPTIONS"}
    changing = sorted(answered - MAY_READ)
    around = _declared(view) | _declared(getattr(kind, "dispatch", None))
    if _reads(around) and len(changing) == len(answered):
        return changing
    return [method for method in changing if _reads(_declared(_handler(kind, method)))]


def _reads(demands: Mapping[str, Demand]) -> bool:
    return any(demand.access == "read" for demand in demands.values())


def _found(view: Callable[..., Any], method: str) -> dict[str, Demand]:
    found = _declared(view)
    kind: object = getattr(view, "view_class", None)
    if isinstance(kind, type):
        found |= _declared(getattr(kind, "dispatch", None))
        found |= _declared(_handler(kind, method))
    return found


def _handler(kind: type, method: str) -> object:
    name = method.lower()
    if name not in getattr(kind, "http_method_names", ()):
        return None
    return getattr(kind, name, getattr(kind, "get", None) if name == "head" else None)


def _declared(view: object) -> dict[str, Demand]:
    """Return the demands on a view by name, those that are wrapped too."""
    return {
        name: value
        for layer in _layers(view)
        for name, value in getattr(layer, "__dict__", {}).items()
        if isinstance(value, Demand)
    }


def _layers(view: object) -> Iterator[object]:
    layer: Any = view
    for _ in range(_LAYERS_MAX):
        if layer is None:
            return
        yield layer
        layer = getattr(layer, "func" if isinstance(layer, partial) else "__wrapped__", None)

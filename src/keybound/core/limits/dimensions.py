"""The one table of the dimensions there are; a user's own joins it by `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from keybound.core.errors import LimitError, nearest
from keybound.core.limits.clause import Clause, unusable
from keybound.core.limits.header_only import HeaderOnly
from keybound.core.limits.hours import Hours
from keybound.core.limits.lifetime import EXPIRES_AT, NOT_BEFORE, Lifetime
from keybound.core.limits.methods import Methods
from keybound.core.limits.models import Models
from keybound.core.limits.networks import Networks
from keybound.core.limits.read_only import ReadOnly
from keybound.core.limits.scopes import Scopes
from keybound.core.limits.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ClauseType = TypeVar("_ClauseType", bound=type[Clause])

BUILT_IN: Final[tuple[type[Clause], ...]] = (
    Lifetime,
    HeaderOnly,
    Tenants,
    Networks,
    Methods,
    ReadOnly,
    Scopes,
    Hours,
    Models,
)
"""The dimensions that are always there, in the order in which a request is checked."""

DIMENSIONS: Final[dict[str, type[Clause]]] = {kind.dimension: kind for kind in BUILT_IN}
"""Every dimension by its name, in the order in which a request is checked."""

BUILT_IN_PLACES: Final = {name: place for place, name in enumerate(DIMENSIONS)}
"""The places of the dimensions that are always there, and always first."""

MOMENTS: Final = (NOT_BEFORE, EXPIRES_AT)
"""The keywords that are one dimension together."""


def register(kind: _ClauseType) -> _ClauseType:
    """Add a dimension of your own, checked after all others; usable as a decorator.

    Raises `LimitError` if its name is taken or cannot be a keyword.
    """
    name: object = getattr(kind, "dimension", None)
    if not (isinstance(name, str) and name.isidentifier() and name == name.lower()):
        raise LimitError(
            kind.__name__, "has no usable dimension", fix='write dimension = "geo" in its class'
        )
    missing = ", ".join(sorted(kind.__abstractmethods__))
    if missing:
        raise LimitError(name, f"lacks {missing}", fix=f"define it in {kind.__name__}")
    if kind.__hash__ is None:
        raise LimitError(name, "is not hashable", fix=f"make {kind.__name__} a frozen dataclass")
    if name in MOMENTS or DIMENSIONS.setdefault(name, kind) is not kind:
        raise LimitError(name, "is a dimension already", fix="choose another name")
    return kind


def read_clauses(values: Mapping[str, object]) -> Iterator[Clause]:
    """Read what people wrote as keywords; raises `LimitError` with the field, problem and fix."""
    dimensions = {name: kind for name, kind in DIMENSIONS.items() if kind is not Lifetime}
    for name, value in values.items():
        if name not in dimensions and name not in MOMENTS:
            fix = nearest(name, (*dimensions, *MOMENTS))
            raise LimitError(name, "is not a limit", fix=fix)
        if value is None:
            raise unusable(name, value, choices=dimensions.get(name, Lifetime).choices)
    moments = {name: values[name] for name in MOMENTS if name in values}
    readings: list[tuple[type[Clause], object]] = [(Lifetime, moments)]
    readings += [(kind, values[name]) for name, kind in dimensions.items() if name in values]
    for kind, value in readings:
        clause = parse_clause(kind, value)
        if clause is not None:
            yield clause


def parse_clause(kind: type[Clause], value: object) -> Clause | None:
    """Read a value of one dimension; ``None`` means that no clause is needed."""
    clause = kind.parse(value)
    if clause is not None and type(clause) is not kind:
        problem = f"is read as {type(clause).__name__}"
        raise LimitError(kind.dimension, problem, fix=f"return {kind.__name__} from its parse()")
    return clause

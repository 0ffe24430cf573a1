"""Options that several commands share are written once, as the members of a frozen bundle."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from inspect import Parameter
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Each member is an option: ``name: Annotated[type, typer.Option(...)] = default``."""


NO_TYPE = ""
"""Metavar of an option that is given or not: help shows no type for it."""

AnyBundle = TypeVar("AnyBundle", bound=Bundle)


def parameters_of(bundle: type[Bundle]) -> Iterator[Parameter]:
    """Yield a keyword parameter for each member of a bundle, with its type and default."""
    hints = get_type_hints(bundle, include_extras=True)
    for member in fields(bundle):
        default: Any = member.default
        if member.default_factory is not MISSING:
            default = member.default_factory()
        yield Parameter(
            member.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[member.name]
        )


def collect(bundle: type[AnyBundle], given: dict[str, Any]) -> AnyBundle:
    """Return a bundle made of its members in ``given``, which are removed from there."""
    return bundle(**{member.name: given.pop(member.name) for member in fields(bundle)})

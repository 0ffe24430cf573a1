"""Options that several commands share are written once, as the members of a frozen bundle."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import typer

from keybound.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Each member is an option: ``name: Annotated[type, typer.Option(...)] = default``."""


AnyBundle = TypeVar("AnyBundle", bound=Bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals(Bundle):
    """Options of every command; they may stand before it and after it."""

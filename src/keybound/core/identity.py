"""Who is calling: what the application gets of an allowed request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from keybound.core.limits import Models, Scopes

if TYPE_CHECKING:
    from keybound.core.facts import Access


class EveryScope(tuple[str, ...]):
    """The scopes of a key that was granted ``*`` where that means every scope."""

    __slots__ = ()

    def __contains__(self, _name: object) -> bool:
        """Return ``True``."""
        return True


@dataclass(frozen=True, slots=True)
class Grants:
    """The granted scopes in the form that Starlette's ``requires`` reads, ``authenticated`` too."""

    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nobody:
    """Whoever calls without a key, in the form that Starlette asks of a user."""

    is_authenticated: bool = False
    display_name: str = ""
    identity: str = ""


NOBODY = Nobody()
NO_GRANTS = Grants(())


# A Struct, since one is made on every miss, and that is made in C; of values, so without cycles.
class Identity(Struct, frozen=True, kw_only=True, gc=False):
    """The key behind a request, resolved and enforced; one object serves many requests.

    It cannot be changed, and it holds no secret and no digest. ``tenant`` is the key's own,
    ``request_tenant`` the one this request is about: filter data on that. ``scopes`` are those
    that the key was granted and no node above it takes away; ``read_only`` says that a node of its
    chain lets it read alone, and ``limited_in_models`` that there are models which it may not use.

    A key or group that only reports holds a view to nothing that it would let pass before: neither
    `has_scope`, `permits`, ``read_only`` nor ``auth`` count its limits; ``scopes`` do.
    """

    key_id: str
    name: str
    tenant: str | None
    request_tenant: str | None
    owner: str | None
    role: str | None
    groups: tuple[str, ...]
    scopes: frozenset[str]
    read_only: bool
    environment: str
    expires_at: datetime | None
    metadata: Mapping[str, Any]
    auth: Grants
    limited_in_models: bool
    _scopes: tuple[Scopes, ...]
    _models: tuple[Models, ...]

    def __repr__(self) -> str:
        """Return what the application may know."""
        shown = (f"{name}={getattr(self, name)!r}" for name in _SHOWN)
        return f"Identity({', '.join(shown)})"

    def has_scope(self, name: str) -> bool:
        """Return whether every node of the key's chain grants this scope."""
        return all(clause.grants(name) for clause in self._scopes)

    def permits(self, *, model: str, access: Access = "write") -> bool:
        """Return whether the key may read or write a model; such checks only ever narrow."""
        if self.read_only and access != "read":
            return False
        return all(clause.allows(model, access) for clause in self._models)

    @property
    def is_authenticated(self) -> bool:
        """Return ``True``, as frameworks ask of a user."""
        return True

    @property
    def display_name(self) -> str:
        """Return the name of the key, as Starlette asks of a user."""
        return self.name

    @property
    def identity(self) -> str:
        """Return the id of the key, as Starlette asks of a user."""
        return self.key_id


_SHOWN: Final = Identity.__struct_fields__[:-4]


def freeze(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return JSON that an application cannot edit by accident: proxies and tuples."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return MappingProxyType({name: freeze(member) for name, member in members.items()})
    if isinstance(value, list):
        return tuple(freeze(member) for member in cast("list[object]", value))
    return value

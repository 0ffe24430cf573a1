"""Who is calling: what the application gets of an allowed request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, cast

from msgspec import Struct

from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.facts import Access
    from keybound.core.terms import Terms


class Packed(Protocol):
    """A key that is put together when somebody asks for more than its id."""

    id: str

    def unpack(self) -> APIKey:
        """Return it, the same object every time."""
        ...


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
class Identity(Struct, frozen=True, eq=False, gc=False):
    """The key behind a request, resolved and enforced; one object serves many requests.

    It cannot be changed, and it holds no secret and no digest. ``tenant`` is the key's own,
    ``request_tenant`` the one this request is about: filter data on that. ``scopes`` are those
    that the key was granted and no node above it takes away; ``read_only`` says that a node of its
    chain lets it read alone, and ``limited_in_models`` that there are models which it may not use.

    A key or group that only reports holds a view to nothing that it would let pass before: neither
    `has_scope`, `permits`, ``read_only`` nor ``auth`` count its limits; ``scopes`` do.
    """

    _of: APIKey | Packed
    _terms: Any
    request_tenant: str | None
    auth: Grants
    _ends: float

    @property
    def _key(self) -> APIKey:
        of = self._of
        return of if isinstance(of, APIKey) else of.unpack()

    @property
    def key_id(self) -> str:
        """The public id of the key."""
        return self._of.id

    @property
    def name(self) -> str:
        """What whoever issued the key calls it."""
        return self._key.name

    @property
    def tenant(self) -> str | None:
        """The home tenant of the key."""
        return self._key.tenant

    @property
    def owner(self) -> str | None:
        """Whose key it is, in the application's own terms."""
        return self._key.owner

    @property
    def role(self) -> str | None:
        """The role of the key, in the application's own terms."""
        return self._key.role

    @property
    def groups(self) -> tuple[str, ...]:
        """The ids of the groups that the key itself is in."""
        return self._key.groups

    @property
    def environment(self) -> str:
        """The environment that the key was issued for, such as ``live``."""
        return self._key.environment

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the application keeps with the key; it cannot be edited by accident."""
        metadata: Mapping[str, Any] = freeze(self._key.metadata)
        return metadata

    @property
    def expires_at(self) -> datetime | None:
        """When the first node of the key's chain ends."""
        if self._ends == inf:
            return None
        try:
            return _EPOCH + timedelta(seconds=self._ends)
        except OverflowError:  # the last microseconds of all years, as a float, are no year's
            return _LAST

    @property
    def scopes(self) -> frozenset[str]:
        """The granted scopes."""
        return self._held_to.granted

    @property
    def read_only(self) -> bool:
        """Whether a node of the key's chain lets it read alone."""
        return self._held_to.read_only

    @property
    def limited_in_models(self) -> bool:
        """Whether there are models that the key may not use."""
        return self._held_to.limited_in_models

    @property
    def _held_to(self) -> Terms:
        terms: Terms = self._terms
        return terms

    @property
    def _seen(self) -> tuple[object, ...]:
        """Everything that an application can see, be the key packed or not."""
        terms = self._held_to
        held_to = self.auth, terms.limited_in_models, terms.scopes, terms.models
        return *self.__rich_repr__(), *held_to

    def __eq__(self, other: object) -> bool:
        """Return whether all that can be seen of the two is the same."""
        return isinstance(other, Identity) and self._seen == other._seen

    def __ne__(self, other: object) -> bool:
        """Return the opposite, which a ``Struct`` does not ask for."""
        return not self == other

    def __hash__(self) -> int:
        """Hash who is calling, and what for."""
        return hash((self.key_id, self.request_tenant))

    def __deepcopy__(self, _memo: object) -> Self:
        """Return itself: nothing in it can be changed."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: who may do what is asked anew by whoever goes on with a request."""
        msg = "an identity is of one request: pass on its key_id"
        raise TypeError(msg)

    def __repr__(self) -> str:
        """Return what the application may know."""
        shown = (f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Identity({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return it with its names."""
        return [(name, getattr(self, name)) for name in _SHOWN]

    def has_scope(self, name: str) -> bool:
        """Return whether every node of the key's chain grants this scope."""
        return all(clause.grants(name) for clause in self._held_to.scopes)

    def permits(self, *, model: str, access: Access = "write") -> bool:
        """Return whether the key may read or write a model; such checks only ever narrow."""
        if self.read_only and access != "read":
            return False
        return all(clause.allows(model, access) for clause in self._held_to.models)

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


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_SHOWN: Final = (
    *("key_id", "name", "tenant", "request_tenant", "owner", "role", "groups", "scopes"),
    *("read_only", "environment", "expires_at", "metadata"),
)


def freeze(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return JSON that an application cannot edit by accident: proxies and tuples."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return MappingProxyType({name: freeze(member) for name, member in members.items()})
    if isinstance(value, list):
        return tuple(freeze(member) for member in cast("list[object]", value))
    return value

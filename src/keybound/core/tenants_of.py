"""The tenant of a request where its path says none: from a header, the host, or a function."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, cast

from keybound.core.errors import InputError, LimitError, nearest
from keybound.core.facts import OWN_TENANT
from keybound.core.hosts import Hosts, read_host
from keybound.core.limits.clause import MEMBER_LENGTH_MAX
from keybound.core.limits.tenants import parse_tenant
from keybound.core.names import OF_TRANSPORT
from keybound.core.site_functions import answer_of, check_function
from keybound.core.spelled import read_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.core.head import Head

    Trusts: TypeAlias = "Callable[[str | None], bool]"
    """Whether a peer is a proxy of the site, so that what it says of a request is believed."""

FIELD = "tenant_from"

_FIX = "write 'header(X-Tenant)', 'host({tenant}.api.example)', or give a function"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+", re.ASCII)
_NO_TENANT = OF_TRANSPORT | {"authorization", "cookie", "proxy-authorization"}
_HOSTS = frozenset({"host", "forwarded_host"})


class TenantSource(ABC):
    """Where a request says which tenant it is about."""

    __slots__ = ()

    @staticmethod
    def parse(value: object) -> TenantSource:
        """Read the setting; raises ``InputError``.

        ``header(X-Tenant)`` is believed from trusted proxies, ``header(X-Tenant, any)`` from
        anybody. ``host({tenant}.api.example)`` has one label for the tenant,
        ``host(acme.example)=acme`` none; several of them are a list. ``forwarded_host(...)`` is the
        same of ``X-Forwarded-Host`` where a trusted proxy sent one. A function takes the head of
        the request, and returns the tenant or ``None``.
        """
        if callable(value):
            check_function(FIELD, value)
            return FunctionTenant(cast("Callable[[Head], object]", value))
        calls = [_spelled(text) for text in _texts(value)]
        names = sorted({name for name, _, _ in calls})
        if names == ["header"] and len(calls) == 1:
            return _header(*calls[0])
        if len(names) == 1 and names[0] in _HOSTS:
            named = [(_only(arguments), tenant) for _, arguments, tenant in calls]
            return HostTenant(Hosts.parse(named, field=FIELD), names == ["forwarded_host"])
        unknown = [name for name in names if name not in {"header", *_HOSTS}]
        if unknown:
            known = ("header", *_HOSTS)
            raise InputError(FIELD, f"{unknown[0]!r} is unknown", fix=nearest(unknown[0], known))
        raise InputError(FIELD, "is not one kind of source", fix="name one header, or only hosts")

    @property
    def varies(self) -> tuple[str, ...]:
        """Headers that decide besides the credential, for ``Vary``."""
        return ()

    @abstractmethod
    def of(self, head: Head, trusts: Trusts) -> str | None:
        """Return the tenant, ``~`` where it is the caller's own; ``None`` if it cannot be told.

        Raises ``FactError`` where a function of the site fails: the tenant is then unknown, too.
        """


@dataclass(frozen=True, slots=True)
class HeaderTenant(TenantSource):
    """The value of a header, as it is written: neither case nor blanks are folded."""

    name: str
    anybody: bool = False

    @property
    def varies(self) -> tuple[str, ...]:
        """The header."""
        return (self.name,)

    def of(self, head: Head, trusts: Trusts) -> str | None:
        """Return the value of its only line, if that is a tenant and whoever sent it may say so."""
        if not (self.anybody or trusts(head.peer)):
            return None
        lines = head.lines(self.name.lower())
        only = len(lines) == 1 and len(head.folded(self.name.lower())) == 1
        value = lines[0].strip(b" \t") if only else b""
        return as_tenant(value.decode("ascii")) if value.isascii() else None


@dataclass(frozen=True, slots=True)
class HostTenant(TenantSource):
    """The host that a request is for; ``forwarded``: as a trusted proxy tells it."""

    hosts: Hosts
    forwarded: bool = False

    @property
    def varies(self) -> tuple[str, ...]:
        """What is not a part of the URL anyway."""
        return ("X-Forwarded-Host",) if self.forwarded else ()

    def of(self, head: Head, trusts: Trusts) -> str | None:
        """Return the tenant that the host is."""
        told = head.lines("x-forwarded-host") if self.forwarded and trusts(head.peer) else ()
        lines = told or head.lines("host")
        name = read_host(lines[0]) if len(lines) == 1 else None
        return None if name is None else self.hosts.tenant(name)


@dataclass(frozen=True, slots=True)
class FunctionTenant(TenantSource):
    """What a function of the site answers, if it is a tenant."""

    function: Callable[[Head], object]

    def of(self, head: Head, trusts: Trusts) -> str | None:  # noqa: ARG002 - as the others have it
        """Ask it; raises ``FactError`` where it fails."""
        return answer_of(FIELD, self.function, head, as_tenant)


def as_tenant(value: object) -> str | None:
    """Return what a request says is its tenant, unless no tenant can be called that."""
    if not isinstance(value, str) or len(value) > MEMBER_LENGTH_MAX:
        return None
    text = str.__str__(value)  # a member of an enumeration is text, too
    return text if _names_tenant(text) else None


@lru_cache(maxsize=4_096)
def _names_tenant(text: str) -> bool:
    named = _without_own(text)
    try:
        return parse_tenant(named) == named  # blanks around it are not folded
    except LimitError:
        return False


def _without_own(tenant: str) -> str:
    """Return a tenant with a name for each segment that is the caller's own."""
    return "/".join("own" if part == OWN_TENANT else part for part in tenant.split("/"))


def _texts(value: object) -> Sequence[str]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not listed:
        raise InputError(FIELD, "is no text, list of texts or function", fix=_FIX)
    members = cast("Sequence[object]", listed)
    if not all(isinstance(each, str) for each in members):
        raise InputError(FIELD, "has a member that is no text", fix=_FIX)
    return cast("Sequence[str]", members)


def _spelled(text: str) -> tuple[str, tuple[str, ...], str | None]:
    """Return what a source is called, its arguments, and the tenant behind ``=``."""
    call, closed, behind = text.rpartition(")")
    name, arguments = read_call(FIELD, call + closed or behind)
    if not closed:
        raise InputError(FIELD, f"{text!r} names nothing", fix=_FIX)
    if not behind.strip(" \t"):
        return name, arguments, None
    _, equals, tenant = behind.partition("=")
    if not equals or behind.strip(" \t")[0] != "=" or name not in _HOSTS:
        raise InputError(FIELD, f"cannot read {text!r}", fix=_FIX)
    tenant = tenant.strip(" \t")
    try:
        parse_tenant(_without_own(tenant))
    except LimitError as error:
        raise InputError(FIELD, error.problem, fix=error.fix) from None
    return name, arguments, tenant


def _only(arguments: tuple[str, ...]) -> str:
    if len(arguments) != 1:
        raise InputError(
            FIELD, f"{', '.join(arguments)} is not one host", fix="write one source for each"
        )
    return arguments[0]


def _header(_name: str, arguments: tuple[str, ...], _tenant: str | None) -> HeaderTenant:
    name, *rest = arguments
    if rest not in ([], ["any"]):
        raise InputError(FIELD, f"{', '.join(rest)} is unknown", fix=f"write 'header({name}, any)'")
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _NO_TENANT:
        raise InputError(FIELD, f"{name!r} is no header for a tenant", fix="write one, without '_'")
    return HeaderTenant(name, anybody=bool(rest))

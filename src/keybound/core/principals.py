"""Whoever calls without a key of ours, as an authenticator of the site knows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from keybound.core.chain import Chain
from keybound.core.effects import Effect
from keybound.core.errors import InputError
from keybound.core.limits import Limits
from keybound.core.limits.tenants import parse_tenant
from keybound.core.nodes import APIKey, check_metadata, check_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.head import Head
    from keybound.core.terms import ChainPolicy

_KINDS = ("key_", "group_")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who an access token, a session or the like stands for, and what they may do here.

    ``limits`` mean what they mean on a key: scopes are granted by name, and without tenants it is
    the home ``tenant``. ``id`` is what the identity has as its ``key_id``. Raises ``InputError``
    for a member that is not what it must be.
    """

    id: str
    name: str = ""
    tenant: str | None = None
    owner: str | None = None
    role: str | None = None
    limits: Limits = field(default_factory=Limits)
    expires_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check what an application might rely on."""
        check_text("id", self.id)
        if self.id.startswith(_KINDS):
            raise InputError("id", "is like that of a stored key", fix="write 'user_1'")
        for name in ("owner", "role"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        if self.expires_at is not None:
            Limits(expires_at=self.expires_at)
        if self.tenant is not None and parse_tenant(self.tenant) != self.tenant:
            raise InputError("tenant", "has blanks around it", fix="leave them out")
        if not isinstance(cast("object", self.limits), Limits):
            kind = type(self.limits).__name__
            raise InputError("limits", f"is {kind}", fix="write Limits(...)")
        check_metadata(dict(self.metadata))

    def chain(self, policy: ChainPolicy) -> Chain:
        """Return what a request of theirs must pass: they stand under nobody."""
        limits = self.limits
        if self.expires_at is not None:
            limits = limits.meet(Limits(expires_at=self.expires_at))
        key = APIKey(
            id=self.id,
            name=self.name,
            tenant=self.tenant,
            limits=limits,
            enabled=True,
            revoked_at=None,
            created_at=_LONG_AGO,
            metadata=dict(self.metadata),
            hint="",
            environment="",
            owner=self.owner,
            role=self.role,
            parent=None,
            groups=(),
            rights=(),
            issued_by=None,
        )
        return Chain(key, {}, policy)


@dataclass(frozen=True, slots=True)
class Authenticate(Effect["Principal | None"]):
    """Who sent a request that has no key of ours, if an authenticator knows."""

    head: Head = field(repr=False)

"""What a view asks of a key, as decorators, dependencies and ``require`` declare it.

A framework's router tells the table of them, so that they are decided before the application runs;
and they check the identity that reached the view, for requests whose view nobody could tell before.
Either way they only narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core.decision import Denied
from keybound.core.errors import InputError, RefusedError
from keybound.core.facts import Access, default_access, own_tenant
from keybound.core.models_of import ModelSource
from keybound.core.patterns import fill
from keybound.core.reasons import Reason
from keybound.core.routes import Auth, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A key with these scopes, for what a request is about; members are those of ``Route``."""

    scopes: tuple[str, ...] = ()
    model: str | None = None
    access: Access | None = None
    tenant: str | None = None
    auth: Auth = "required"

    @classmethod
    def read(
        cls,
        scopes: str | Iterable[str] = (),
        *,
        model: str | None = None,
        access: Access | None = None,
        tenant: str | None = None,
    ) -> Demand:
        """Return a demand as people write it; raises ``InputError`` naming what is wrong."""
        checked = Route("/{any:path}", methods="GET", access=access, scopes=scopes)
        asked = model and ModelSource.parse(model, field="model", templates=True)
        if asked and asked.template != model:
            raise InputError(
                "model", f"{model!r} is not for views", fix=f"write Route(path, model={model!r})"
            )
        return cls(scopes=checked.scopes, model=model, access=access, tenant=tenant)

    def check(
        self,
        identity: Identity | None,
        *,
        method: str,
        fields: Mapping[str, str | None],
        said: Access | None = None,
        strict: bool = False,
    ) -> Identity:
        """Return an identity that a view may serve; raises ``RefusedError`` for any other.

        ``fields`` are what the router matched, and fill templates. ``said`` is what everything
        around the view says of the access; without that, the method does. ``strict`` is for views
        that nobody decided on before: a key limited in what is not known of them is refused.
        """
        if identity is None:
            raise RefusedError(Denied(Reason.MISSING_CREDENTIALS))
        access = said or self.access or (default_access(method) if strict else None)
        reason = self._unmet(identity, method, fields, access)
        if reason is None and strict and self.model is None and identity.limited_in_models:
            reason = Reason.MODEL_UNRESOLVED
        if reason is not None:
            scopes = self.scopes if reason is Reason.INSUFFICIENT_SCOPE else ()
            raise RefusedError(Denied(reason, key=identity.key_id, scopes=scopes))
        return identity

    def _unmet(
        self,
        identity: Identity,
        method: str,
        fields: Mapping[str, str | None],
        access: Access | None,
    ) -> Reason | None:
        about = self._unmet_tenant(identity, fields)
        if about is not None:
            return about
        if identity.read_only and access == "write":
            return Reason.METHOD_NOT_ALLOWED
        if not all(identity.has_scope(name) for name in self.scopes):
            return Reason.INSUFFICIENT_SCOPE
        if self.model is None:
            return None
        model = fill(self.model, fields)
        if not model:
            return Reason.MODEL_UNRESOLVED
        permitted = identity.permits(model=model, access=access or default_access(method))
        return None if permitted else Reason.MODEL_NOT_ALLOWED

    def _unmet_tenant(self, identity: Identity, fields: Mapping[str, str | None]) -> Reason | None:
        if self.tenant is None:
            return None
        tenant = own_tenant(fill(self.tenant, fields), identity.tenant)
        if not tenant or identity.request_tenant is None:
            return Reason.TENANT_UNRESOLVED
        return None if tenant == identity.request_tenant else Reason.TENANT_MISMATCH


def joined(demands: Iterable[Demand], *, path: str) -> Demand | None:
    """Return what several demands on one view are together, ``None`` for none at all.

    Raises ``InputError`` when they are about different models or tenants.
    """
    every = tuple(demands)
    if not every:
        return None
    return Demand(
        scopes=tuple(dict.fromkeys(scope for demand in every for scope in demand.scopes)),
        model=_agreed("model", path, {demand.model for demand in every}),
        access=strictest_access(every),
        tenant=_agreed("tenant", path, {demand.tenant for demand in every}),
        auth="required" if any(demand.auth == "required" for demand in every) else "optional",
    )


def strictest_access(demands: Iterable[Demand]) -> Access | None:
    """Return what demands on one view say together of what it does, if any does."""
    named = {demand.access for demand in demands}
    return "write" if "write" in named else "read" if "read" in named else None


def _agreed(name: str, path: str, wanted: set[str | None]) -> str | None:
    values = sorted(value for value in wanted if value is not None)
    if len(values) > 1:
        raise InputError(name, f"{path} requires {' and '.join(values)}", fix="name one of them")
    return values[0] if values else None

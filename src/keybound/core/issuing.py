"""How keys and groups come to be. A key is never wider than the parent it is issued under."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from keybound.core.ceilings import check_ceilings
from keybound.core.effects import Put, ReadEntropy, Row, ask
from keybound.core.errors import ConflictError, InputError, NotFoundError
from keybound.core.keys import ENTROPY_BYTES
from keybound.core.lifecycle import ATTEMPTS, Receipt, commit, load, read_now
from keybound.core.limits import Limits, parse_tenant
from keybound.core.nodes import (
    APIKey,
    Group,
    StoredNode,
    check_metadata,
    check_text,
    new_id,
)
from keybound.core.rights import check_rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.effects import Loaded, Steps
    from keybound.core.lifecycle import Site
    from keybound.core.secret import Secret
    from keybound.core.terms import ChainPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key is asked to be. ``expires_for`` is seconds from now."""

    name: str
    tenant: str | None = None
    owner: str | None = None
    role: str | None = None
    limits: Limits = field(default_factory=Limits)
    expires_for: float | None = None
    parent: str | None = None
    groups: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    issued_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key; ``secret`` is the key itself, here and never again."""

    key: APIKey
    secret: Secret
    receipt: Receipt

    @property
    def id(self) -> str:
        """The public id of the key."""
        return self.key.id


def issue(site: Site, asked: NewKey) -> Steps[IssuedKey]:
    """Make a key. Raises ``InputError``, ``ExceedsCeilingError``, ``NotFoundError``.

    A parent or group that is changed meanwhile is read again; ``ConflictError`` if that goes on.
    """
    asked = _checked(asked)
    for _ in range(ATTEMPTS - 1):
        try:
            return (yield from _issue(site, asked))
        except ConflictError:
            continue
    return (yield from _issue(site, asked))


def _issue(site: Site, asked: NewKey) -> Steps[IssuedKey]:
    now = yield from read_now()
    ceilings: dict[str, Row] = {}
    if asked.parent is not None:
        parent = yield from load(asked.parent)
        ceilings |= _alive(parent, asked.parent, role="parent")
        asked = _inherit(asked, ceilings[asked.parent].node, ceilings.values())
    for group in asked.groups:
        ceilings |= _alive((yield from load(group)), group, role="groups")
        if not isinstance(ceilings[group].node, Group):
            raise InputError("groups", f"{group} is a key", fix="name groups")
    limits = asked.limits
    if asked.expires_for is not None:
        limits = limits.meet(Limits(expires_at=now + timedelta(seconds=asked.expires_for)))
    secret = site.format.generate((yield from ask(ReadEntropy(ENTROPY_BYTES))))
    key = APIKey(
        id=new_id("key", (yield from ask(ReadEntropy(ENTROPY_BYTES)))),
        name=asked.name,
        tenant=asked.tenant,
        limits=limits,
        enabled=True,
        revoked_at=None,
        created_at=now,
        metadata=dict(asked.metadata),
        hint=site.format.hint(secret),
        environment=site.format.environment,
        owner=asked.owner,
        role=asked.role,
        parent=asked.parent,
        groups=asked.groups,
        rights=asked.rights,
        issued_by=asked.issued_by,
    )
    _check_home(key, site.policy)
    if asked.parent is not None:
        check_ceilings(key, ceilings, site.policy)
    put = Put(node=key, expected=None, digest=site.peppers.digest(secret.reveal()))
    checked = tuple((node, row.rev) for node, row in ceilings.items())
    receipt = yield from commit(site, put, ceilings=checked, above=tuple(ceilings))
    return IssuedKey(key=key, secret=secret, receipt=receipt)


def create_group(
    site: Site,
    *,
    name: str,
    tenant: str | None,
    limits: Limits,
    metadata: Mapping[str, Any],
    rights: tuple[str, ...] = (),
) -> Steps[Receipt]:
    """Make a group. Raises ``InputError``."""
    group = Group(
        id=new_id("group", (yield from ask(ReadEntropy(ENTROPY_BYTES)))),
        name=check_text("name", name),
        tenant=None if tenant is None else parse_tenant(tenant),
        limits=limits,
        enabled=True,
        revoked_at=None,
        created_at=(yield from read_now()),
        metadata=check_metadata(metadata),
        rights=check_rights("group", rights),
    )
    return (yield from commit(site, Put(node=group, expected=None)))


def _checked(asked: NewKey) -> NewKey:
    return NewKey(
        name=check_text("name", asked.name),
        tenant=None if asked.tenant is None else parse_tenant(asked.tenant),
        owner=None if asked.owner is None else check_text("owner", asked.owner),
        role=None if asked.role is None else check_text("role", asked.role),
        limits=asked.limits,
        expires_for=asked.expires_for,
        parent=asked.parent,
        groups=tuple(dict.fromkeys(asked.groups)),
        rights=check_rights("key", asked.rights),
        metadata=check_metadata(asked.metadata),
        issued_by=asked.issued_by,
    )


def _inherit(asked: NewKey, parent: StoredNode, chain: Iterable[Row]) -> NewKey:
    """Give a child what its parent is and may, where it asks for nothing of its own.

    Limits of groups are not taken over: the child is in the same groups.
    """
    if not isinstance(parent, APIKey):
        raise InputError("parent", f"{parent.id} is a {parent.kind}", fix="name a key")
    tenant = asked.tenant if asked.tenant is not None else parent.tenant
    own = {clause.dimension for clause in asked.limits} | {"scopes"}
    if asked.expires_for is not None:
        own.add("lifetime")
    if tenant is not None:
        own.add("tenants")
    keys = [row.node for row in chain if isinstance(row.node, APIKey)]
    inherited = [clause for key in keys for clause in key.limits if clause.dimension not in own]
    return replace(
        asked,
        owner=asked.owner if asked.owner is not None else parent.owner,
        role=asked.role if asked.role is not None else parent.role,
        tenant=tenant,
        groups=tuple(dict.fromkeys((*parent.groups, *asked.groups))),
        limits=asked.limits.meet(Limits.of_clauses(inherited)),
        issued_by=asked.issued_by or parent.id,
    )


def _check_home(key: APIKey, policy: ChainPolicy) -> None:
    if policy.tenancy and key.tenant is None and not key.limits.of("tenants"):
        raise InputError(
            "tenant",
            "routes are about tenants, and this key would reach none",
            fix="name its tenant, or limit it to tenants '*' explicitly",
        )


def _alive(loaded: Loaded, node_id: str, *, role: str) -> dict[str, Row]:
    """Return the rows of a node and everything above it, all of which must be alive."""
    rows: dict[str, Row] = {}
    for name, row in loaded.rows.items():
        if row is None or row.node.revoked_at is not None or not row.node.enabled:
            state = "does not exist" if row is None else "is disabled or revoked"
            raise InputError(role, f"{node_id}: {name} {state}", fix="name one that is alive")
        rows[name] = row
    if node_id not in rows:
        raise NotFoundError(node_id)
    return rows

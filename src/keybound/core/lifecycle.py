"""How keys and groups come to be, change and end: the verbs, as generators of effects.

Every change is one revision of the store, taken in one transaction in which everything that it
was decided on is checked again. Nothing is half done, and nobody's change is overwritten unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from keybound.core.chain import ChainPolicy, effective_limits
from keybound.core.effects import (
    Commit,
    LoadNode,
    Put,
    ReadClock,
    ReadEntropy,
    Row,
    Sleep,
    absence_id,
    ask,
)
from keybound.core.errors import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    NotFoundError,
)
from keybound.core.keys import ENTROPY_BYTES, KeyFormat, Peppers
from keybound.core.limits import Limits, parse_tenant
from keybound.core.nodes import (
    APIKey,
    Group,
    StoredNode,
    check_metadata,
    check_text,
    encode_node,
    new_id,
)

if TYPE_CHECKING:
    from keybound.core.effects import Loaded, Steps
    from keybound.core.secret import Secret

ATTEMPTS = 5
TAG_BYTES = 16
RIGHTS = frozenset({"can_issue", "report_only", "keys:read", "keys:write", "keys:*"})
"""Rights are given by name; no limit, no ``*`` and no absence implies one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the settings mean for changes; ``settle_for`` is the bound, in seconds."""

    format: KeyFormat
    peppers: Peppers
    policy: ChainPolicy
    settle_for: float
    raise_floors: Callable[[Iterable[str], int], None]


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
    metadata: Mapping[str, Any] = field(default_factory=dict)
    issued_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A committed change: no worker accepts what it ended after ``effective_by``.

    ``announced`` says whether other workers were also told at once; ``node`` is the key or group
    as the change left it.
    """

    node: StoredNode
    rev: int
    announced: bool
    effective_by: datetime


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


Edit = Callable[[StoredNode, datetime], StoredNode]


def issue(site: Site, asked: NewKey) -> Steps[IssuedKey]:
    """Make a key. Raises ``InputError``, ``ExceedsCeilingError``, ``NotFoundError``."""
    asked = _checked(asked)
    now = yield from _now()
    ceilings: dict[str, Row] = {}
    if asked.parent is not None:
        parent = yield from _load(asked.parent)
        ceilings |= _alive(parent, asked.parent, role="parent")
        asked = _inherit(asked, ceilings[asked.parent].node, ceilings.values())
    for group in asked.groups:
        ceilings |= _alive((yield from _load(group)), group, role="groups")
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
    digests = site.peppers.candidates(secret.reveal())
    put = Put(node=key, expected=None, digest=digests[0])
    checked = tuple((node, row.rev) for node, row in ceilings.items())
    receipt = yield from _commit(site, put, ceilings=checked)
    site.raise_floors([absence_id(digest) for digest in digests], receipt.rev)
    return IssuedKey(key=key, secret=secret, receipt=receipt)


def create_group(
    site: Site, *, name: str, tenant: str | None, limits: Limits, metadata: Mapping[str, Any]
) -> Steps[Receipt]:
    """Make a group. Raises ``InputError``."""
    group = Group(
        id=new_id("group", (yield from ask(ReadEntropy(ENTROPY_BYTES)))),
        name=check_text("name", name),
        tenant=None if tenant is None else parse_tenant(tenant),
        limits=limits,
        enabled=True,
        revoked_at=None,
        created_at=(yield from _now()),
        metadata=check_metadata(dict(metadata)),
    )
    return (yield from _commit(site, Put(node=group, expected=None)))


def edit(
    site: Site,
    node_id: str,
    change: Edit,
    *,
    if_revision: int | None = None,
    wait: bool = False,
    dry_run: bool = False,
) -> Steps[Receipt]:
    """Change a node as ``change`` says, from what is stored at that very moment.

    Raises ``NotFoundError``, ``ConflictError`` when ``if_revision`` is not the node's last one,
    and what ``change`` raises. ``wait`` returns when the change holds everywhere.
    """
    for _ in range(ATTEMPTS):
        loaded = yield from _load(node_id)
        row = _row(loaded, node_id)
        if if_revision is not None and row.rev != if_revision:
            msg = f"{node_id} is at revision {row.rev}, not {if_revision}: read it again"
            raise ConflictError(msg)
        now = yield from _now()
        node = change(row.node, now)
        encode_node(node)
        ceilings = {name: found for name, found in loaded.rows.items() if found and name != node_id}
        if isinstance(node, APIKey) and node.parent is not None and node != row.node:
            _check_unless_narrower(node, row.node, ceilings, site.policy)
        if dry_run or node == row.node:
            settled = now + timedelta(seconds=site.settle_for)
            return Receipt(node=node, rev=row.rev, announced=False, effective_by=settled)
        checked = tuple((name, found.rev) for name, found in ceilings.items())
        try:
            put = Put(node=node, expected=row.rev)
            receipt = yield from _commit(site, put, ceilings=checked)
        except ConflictError:
            continue
        if wait:
            yield from ask(Sleep(site.settle_for))
        return receipt
    msg = f"{node_id} is being changed by others all the time: try again"
    raise ConflictError(msg)


def show(node_id: str) -> Steps[Loaded]:
    """Return a node and everything above it. Raises ``NotFoundError``."""
    loaded = yield from _load(node_id)
    _row(loaded, node_id)
    return loaded


def restriction(limits: Limits, policy: ChainPolicy) -> Edit:
    """Return the edit that narrows a node; what it already may not do stays that way."""

    def change(node: StoredNode, _now: datetime) -> StoredNode:
        touched = {clause.dimension for clause in limits}
        implied = Limits.of_clauses(
            clause for clause in effective_limits(node, policy) if clause.dimension in touched
        )
        return msgspec.structs.replace(node, limits=node.limits.meet(implied).meet(limits))

    return change


def activation(*, enabled: bool) -> Edit:
    """Return the edit that enables or disables a node; a revoked one stays revoked."""

    def change(node: StoredNode, _now: datetime) -> StoredNode:
        if enabled and node.revoked_at is not None:
            raise InputError(node.id, "was revoked, which is for ever", fix="issue a new key")
        return msgspec.structs.replace(node, enabled=enabled)

    return change


def revocation() -> Edit:
    """Return the edit that ends a node for ever."""

    def change(node: StoredNode, now: datetime) -> StoredNode:
        return msgspec.structs.replace(node, revoked_at=node.revoked_at or now)

    return change


def amendment(
    members: Mapping[str, Any],
    limits: Limits | Mapping[str, object],
    *,
    expires_for: float | None = None,
) -> Edit:
    """Return the edit that sets members, and replaces limits of the named dimensions.

    A limit of ``*`` is taken away; every other dimension stays. Members are those of ``NewKey``.
    Raises ``InputError``.
    """
    checked = {name: _CHECKS[name](value) for name, value in members.items()}

    def change(node: StoredNode, now: datetime) -> StoredNode:
        for name in checked:
            if name not in type(node).__struct_fields__:
                raise InputError(name, f"is not a member of a {node.kind}", fix="leave it out")
        renewed = _replaced(node.limits, limits)
        if expires_for is not None:
            ends = now + timedelta(seconds=expires_for)
            renewed = _replaced(renewed, {"expires_at": ends})
        return msgspec.structs.replace(node, **checked, limits=renewed)

    return change


def check_ceilings(key: APIKey, ceilings: Mapping[str, Row], policy: ChainPolicy) -> None:
    """Raise ``ExceedsCeilingError`` unless every node of the parent's chain covers the key."""
    asked = effective_limits(key, policy)
    for name, row in ceilings.items():
        if name in key.groups:
            continue
        for clause in asked.exceeds(effective_limits(row.node, policy)):
            mine = " and ".join(own.describe() for own in asked.of(clause.dimension)) or "no limit"
            raise ExceedsCeilingError(
                node=name, dimension=clause.dimension, allowed=clause.describe(), asked=mine
            )
        if isinstance(row.node, APIKey) and not set(key.rights) <= set(row.node.rights):
            raise ExceedsCeilingError(
                node=name,
                dimension="rights",
                allowed=", ".join(row.node.rights) or "none",
                asked=", ".join(key.rights),
            )


def _check_unless_narrower(
    node: APIKey, before: StoredNode, ceilings: Mapping[str, Row], policy: ChainPolicy
) -> None:
    """A change that only narrows is always welcome, even below a ceiling that came down later."""
    if not effective_limits(before, policy).covers(effective_limits(node, policy)):
        check_ceilings(node, ceilings, policy)


def _replaced(limits: Limits, changes: Limits | Mapping[str, object]) -> Limits:
    """Return limits with those of the named dimensions written anew."""
    if isinstance(changes, Limits):
        touched = {clause.dimension for clause in changes}
        return Limits.of_clauses(c for c in limits if c.dimension not in touched).meet(changes)
    return limits.replaced({name: Limits.read({name: value}) for name, value in changes.items()})


def _checked(asked: NewKey) -> NewKey:
    unknown = set(asked.rights) - RIGHTS
    if unknown:
        known = ", ".join(sorted(RIGHTS))
        raise InputError("rights", f"{', '.join(sorted(unknown))} unknown", fix=f"known: {known}")
    return NewKey(
        name=check_text("name", asked.name),
        tenant=None if asked.tenant is None else parse_tenant(asked.tenant),
        owner=None if asked.owner is None else check_text("owner", asked.owner),
        role=None if asked.role is None else check_text("role", asked.role),
        limits=asked.limits,
        expires_for=asked.expires_for,
        parent=asked.parent,
        groups=tuple(dict.fromkeys(asked.groups)),
        rights=tuple(sorted(set(asked.rights))),
        metadata=check_metadata(dict(asked.metadata)),
        issued_by=asked.issued_by,
    )


def _inherit(asked: NewKey, parent: StoredNode, chain: Iterable[Row]) -> NewKey:
    """A child keeps its parent's owner, groups and tenant, and every limit it does not narrow."""
    if not isinstance(parent, APIKey):
        raise InputError("parent", f"{parent.id} is a {parent.kind}", fix="name a key")
    tenant = asked.tenant if asked.tenant is not None else parent.tenant
    own = {clause.dimension for clause in asked.limits} | {"scopes"}
    if asked.expires_for is not None:
        own.add("lifetime")
    if tenant is not None:
        own.add("tenants")
    inherited = [c for row in chain for c in row.node.limits if c.dimension not in own]
    return replace(
        asked,
        owner=asked.owner if asked.owner is not None else parent.owner,
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


def _row(loaded: Loaded, node_id: str) -> Row:
    row = loaded.rows.get(node_id)
    if row is None:
        raise NotFoundError(node_id)
    return row


def _load(node_id: str) -> Steps[Loaded]:
    return (yield from ask(LoadNode(node_id)))


def _now() -> Steps[datetime]:
    moment = yield from ask(ReadClock())
    return datetime.fromtimestamp(moment.wall, UTC)


def _commit(site: Site, put: Put, *, ceilings: tuple[tuple[str, int], ...] = ()) -> Steps[Receipt]:
    tag = yield from ask(ReadEntropy(TAG_BYTES))
    head = yield from ask(Commit(puts=(put,), ceilings=ceilings, tag=tag))
    site.raise_floors([put.node.id], head.rev)
    settled = (yield from _now()) + timedelta(seconds=site.settle_for)
    return Receipt(node=put.node, rev=head.rev, announced=False, effective_by=settled)


def _optional(check: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else check(value)


_CHECKS: dict[str, Callable[[Any], object]] = {
    "name": lambda value: check_text("name", value),
    "tenant": _optional(parse_tenant),
    "owner": _optional(lambda value: check_text("owner", value)),
    "role": _optional(lambda value: check_text("role", value)),
    "metadata": check_metadata,
}

"""What would admit a refused request: the smallest edit of the node that refuses, as a command.

The edit names what all clauses of the dimension permit now, and what the request lacks; so it
admits this request and its like, and nothing else that is refused now.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from shlex import quote
from typing import TYPE_CHECKING, cast

from keybound.core.errors import LimitError
from keybound.core.facts import unpack_address
from keybound.core.limits import Hours, Models
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from ipaddress import IPv4Network

    from keybound.core.facts import Access, RequestFacts
    from keybound.core.limits import Clause

ADVICE: Mapping[Reason, str] = {
    Reason.DISABLED: "keybound enable {node}",
    Reason.REVOKED: "issue a new key; revoked is for ever",
    Reason.EXPIRED: "keybound update {node} --expires-in 90d",
    Reason.NOT_YET_VALID: "wait, or keybound update {node} --not-before '*'",
    Reason.CREDENTIAL_NOT_ALLOWED: (
        "send the key in a header, or keybound update {node} --no-header-only"
    ),
    Reason.TENANT_UNRESOLVED: (
        "add a route that names the tenant of this path; if one does, no tenant can be called so"
    ),
    Reason.MODEL_UNRESOLVED: "add a route that names the model of this path",
    Reason.NETWORK_UNKNOWN: "let the server pass on the address of the client",
    Reason.LIMIT_INVALID: "register the dimension, or replace the limit of {node}",
}
"""What helps whatever the request is."""

_SWITCHES: Mapping[str, str] = {"read_only": "keybound update {node} --no-read-only"}
"""What helps against limits that only are or are not."""


def mend_of(
    node: str, clauses: Sequence[Clause], facts: RequestFacts | None, refused: Reason, at: float
) -> str:
    """Return what would turn the refusal of a node; ``clauses`` are all that it has of a dimension.

    ``at`` is when the request was made (POSIX seconds). Without ``facts`` it is not known what else
    it lacks, so that cannot be named.
    """
    dimension = clauses[0].dimension
    advice = ADVICE.get(refused) or _SWITCHES.get(dimension)
    if advice is not None:
        return advice.format(node=node)
    if len({type(clause) for clause in clauses}) > 1:  # one of them cannot be read
        return ADVICE[Reason.LIMIT_INVALID].format(node=node)
    if dimension == Hours.dimension:
        wait = "wait, or " if all(clause.dump() for clause in clauses) else ""
        return wait + _command(node, "--hours", _hours(clauses, at))
    if dimension not in _WANTED or facts is None:
        return f"keybound update {node}, naming more for {dimension}"
    flag, wanted = _WANTED[dimension]
    try:
        values = wanted(clauses, facts)
        type(clauses[0]).parse(values)
    except LimitError as error:
        return f"none: no limit can name what was asked for ({error})"
    return _command(node, flag, values)


def _command(node: str, flag: str, values: Iterable[str]) -> str:
    # The request may come from a log: what a stranger wrote must stay a word of the command.
    return f"keybound update {node} {' '.join(f'{flag} {quote(value)}' for value in values)}"


def _named(clauses: Sequence[Clause], *lacking: str) -> list[str]:
    common = [name for name in _names(clauses) if _in_all(clauses, [name])]
    return list(dict.fromkeys((*common, *lacking)))


def _tenants(clauses: Sequence[Clause], facts: RequestFacts) -> list[str]:
    return _named(clauses, facts.tenant or "")


def _methods(clauses: Sequence[Clause], facts: RequestFacts) -> list[str]:
    return _named(clauses, facts.method)


def _scopes(clauses: Sequence[Clause], facts: RequestFacts) -> list[str]:
    return _named(clauses, *facts.scopes)


def _networks(clauses: Sequence[Clause], facts: RequestFacts) -> list[str]:
    address = unpack_address(facts.address or 0)
    names = _names(clauses)
    excluded = [name for name in names if name.startswith("!")]
    allowed = [name for name in names if not name.startswith("!")]
    common = [name for name in allowed if _in_all(clauses, [name, *excluded])]
    opened = [each for name in excluded for each in _without(name, address)]
    return list(dict.fromkeys((*common, address, *opened)))


def _without(exclusion: str, address: str) -> Iterable[str]:
    """Return what excludes the same addresses but one."""
    network, one = ip_network(exclusion[1:]), ip_address(address)
    if one not in network:
        return [exclusion]
    # Both are of one family, which the types of the standard library cannot say.
    rest = cast("IPv4Network", network).address_exclude(cast("IPv4Network", ip_network(one)))
    return [f"!{each}" for each in rest]


def _models(clauses: Sequence[Clause], facts: RequestFacts) -> list[str]:
    models = [clause for clause in clauses if isinstance(clause, Models)]
    names = dict.fromkeys(name for clause in models for name, _ in clause.grants)
    grants: dict[str, Access] = {}
    for name in names:
        given = {clause.by_name.get(name, clause.default) for clause in models}
        if None not in given:
            grants[name] = "read" if "read" in given else "write"
    grants[facts.model or ""] = facts.access
    return [f"{name}:{access}" for name, access in grants.items()]


def _hours(clauses: Sequence[Clause], at: float) -> list[str]:
    zones = [zone for clause in clauses if isinstance(clause, Hours) for zone, _ in clause.clocks]
    return _named(clauses, Hours.around(at, zones[0] if zones else None))


def _names(clauses: Sequence[Clause]) -> list[str]:
    return [name for clause in clauses for name in cast("Sequence[str]", clause.dump())]


def _in_all(clauses: Sequence[Clause], names: list[str]) -> bool:
    named = type(clauses[0]).parse(names)
    return named is not None and all(clause.covers(named) for clause in clauses)


_WANTED: Mapping[str, tuple[str, Callable[[Sequence[Clause], RequestFacts], list[str]]]] = {
    "tenants": ("--tenant", _tenants),
    "networks": ("--network", _networks),
    "methods": ("--method", _methods),
    "scopes": ("--scope", _scopes),
    "models": ("--model", _models),
}

"""Rights are given by name: no limit, no ``*`` and no absence implies one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keybound.core.errors import InputError
from keybound.core.limits import Clause, Hours, Methods, Models, Networks, ReadOnly, Scopes
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPORT_ONLY: Final = "report_only"
"""What some limits of its own node refuse is reported and passes; administrators alone give it."""

RIGHTS: Final[Mapping[str, frozenset[str]]] = {
    "key": frozenset({"can_issue", REPORT_ONLY, "keys:read", "keys:write", "keys:*"}),
    "group": frozenset({REPORT_ONLY}),
}
"""The rights that each kind of node can have."""

SOFTENED: Final[Mapping[type[Clause], Reason]] = {
    Networks: Reason.NETWORK_NOT_ALLOWED,
    Methods: Reason.METHOD_NOT_ALLOWED,
    ReadOnly: Reason.METHOD_NOT_ALLOWED,
    Scopes: Reason.INSUFFICIENT_SCOPE,
    Hours: Reason.OUTSIDE_TIME_WINDOW,
    Models: Reason.MODEL_NOT_ALLOWED,
}
"""What ``report_only`` lets pass: a refusal by exactly such a clause, for exactly that reason.

Not what is unresolved or unreadable, a tenant, a dead node, or a dimension of a site's own.
"""


def check_rights(kind: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return rights in order, each once; raises ``InputError`` unless a node can have them."""
    known = RIGHTS[kind]
    unknown = sorted(set(names) - known)
    if unknown:
        fix = f"known: {', '.join(sorted(known))}"
        raise InputError("rights", f"{', '.join(unknown)} unknown for a {kind}", fix=fix)
    return tuple(sorted(set(names)))

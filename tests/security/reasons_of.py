"""What the reasons and problems of a catalogue are called here: one table for each."""

from __future__ import annotations

from keybound.core.reasons import Reason
from keybound.core.refusals import REFUSALS

_UNREADABLE = frozenset({"limit_invalid", "record_corrupt"})
"""What a record is refused for that cannot be read exactly, whatever a case calls it."""

LIMITED = frozenset(
    {"tenant_mismatch", "network_not_allowed", "method_not_allowed", "insufficient_scope"}
    | {"outside_time_window", "model_not_allowed", "model_unresolved", "tenant_unresolved"}
)
"""What a key is refused for that is alive, by a limit of its own or of what it stands under."""

REASONS: dict[str, frozenset[str]] = {
    "ok": frozenset({"ok"}),
    "exempt": frozenset({"exempt"}),
    # 400
    "duplicate_credentials": frozenset({"duplicate_credentials"}),
    "conflicting_credentials": frozenset({"conflicting_credentials", "duplicate_credentials"}),
    "invalid_path": frozenset({"invalid_path"}),
    "ambiguous_model": frozenset({"model_unresolved"}),
    "body_too_large": frozenset({"model_unresolved"}),
    # 401
    "missing_credentials": frozenset({"missing_credentials"}),
    "malformed_credentials": frozenset({"malformed_credentials"}),
    "unsupported_scheme": frozenset({"malformed_credentials"}),
    # A key whose checksum is wrong is refused before anybody is asked whether it is known.
    "unknown_key": frozenset({"unknown_key", "malformed_credentials"}),
    "disabled": frozenset({"disabled"}),
    "expired": frozenset({"expired"}),
    "not_yet_valid": frozenset({"not_yet_valid"}),
    "revoked": frozenset({"revoked"}),
    "rotated": frozenset({"rotated"}),
    "exhausted": frozenset({"quota_exceeded"}),
    # The node that refused is in the sealed id; the reason is that of any node. A missing one
    # counts as revoked.
    "group_disabled": frozenset({"disabled"}),
    "group_missing": frozenset({"revoked"}),
    "tenant_disabled": frozenset({"disabled"}),
    "tenant_missing": frozenset({"revoked"}),
    "owner_disabled": frozenset({"disabled"}),
    "owner_missing": frozenset({"revoked"}),
    "ancestor_revoked": frozenset({"revoked"}),
    "ancestor_expired": frozenset({"expired"}),
    "ancestor_disabled": frozenset({"disabled"}),
    "ancestor_missing": frozenset({"revoked"}),
    "ancestor_cycle": frozenset({"record_corrupt"}),
    "depth_exceeded": frozenset({"record_corrupt"}),
    # 403
    # What cannot be the name of a tenant is none, rather than another one.
    "tenant_mismatch": frozenset({"tenant_mismatch", "tenant_unresolved"}),
    "tenant_unresolved": frozenset({"tenant_unresolved"}),
    "ip_not_allowed": frozenset({"network_not_allowed", "network_unknown"}),
    "ip_unknown": frozenset({"network_unknown"}),
    "method_not_allowed": frozenset({"method_not_allowed"}),
    "method_override": frozenset({"method_not_allowed"}),
    "model_not_allowed": frozenset({"model_not_allowed", "model_unresolved"}),
    "insufficient_scope": frozenset({"insufficient_scope"}),
    "restriction_invalid": _UNREADABLE,
    "restriction_uncheckable": frozenset(
        {"tenant_unresolved", "network_unknown", "model_unresolved", "limit_invalid"}
    ),
    "unsupported_restriction": _UNREADABLE,
    "unsupported_version": frozenset({"record_corrupt"}),
    # What is wider than the parent is refused as what the parent may not do.
    "exceeds_parent": LIMITED,
    "exceeds_grant": LIMITED,
    "forbidden": LIMITED,
    "outside_time_window": frozenset({"outside_time_window"}),
    "credential_not_allowed": frozenset({"credential_not_allowed"}),
    # A dimension of a site's own that fails, or does not say yes.
    "internal_error": frozenset({"limit_invalid", "store_unavailable"}),
    # 429, 503
    "rate_limited": frozenset({"rate_limited"}),
    "quota_exceeded": frozenset({"quota_exceeded"}),
    "store_unavailable": frozenset({"store_unavailable"}),
    "record_corrupt": frozenset({"record_corrupt"}),
}
"""Each reason of a catalogue, and the ones of ours that say it."""

PROBLEMS: dict[str, frozenset[str]] = {
    "invalid_request": frozenset({"invalid_request"}),
    "invalid_token": frozenset({"invalid_token"}),
    "forbidden": frozenset({"forbidden", "insufficient_scope"}),
    "insufficient_scope": frozenset({"insufficient_scope"}),
    "temporarily_unavailable": frozenset({"unavailable", "temporarily_unavailable"}),
    "too_many_requests": frozenset({"too_many_requests"}),
}
"""The slug of each problem, and the slugs of ours that say it."""


_OF_ENDED = frozenset({"unknown_key", "group_disabled", "tenant_disabled", "owner_disabled"})
"""What a case may call it when it deletes a key, or what a key stands under."""


def reasons_of(name: str, *, odd: bool, ended: bool) -> frozenset[str] | None:
    """Return the reasons of ours that say what a case says; ``None`` for an unknown name.

    ``odd``: a record of the case cannot be read, which may be found before what the case is about.
    ``ended``: the case deletes a key, which is how a key ends elsewhere: here it is revoked.
    """
    known = REASONS.get(name)
    if known is None:
        return None
    if name in _OF_ENDED and ended:
        known |= {"revoked"}
    return known | _UNREADABLE if odd else known


def reasons_with(status: int) -> frozenset[str]:
    """Return every reason that is answered with a status: for a status that is as good."""
    found = {reason.value for reason in Reason if REFUSALS[reason].status == status}
    return frozenset(found | {"ok", "exempt"} if status < 400 else found)

"""Why a request is refused: the closed list that logs, metrics, refusals and explanations share."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Each value is stable: it is stored in audit records and compared by tests of applications.

    So is its place, by which the ids of denials name it: what is new stands at the end.
    """

    DUPLICATE_CREDENTIALS = "duplicate_credentials"
    CONFLICTING_CREDENTIALS = "conflicting_credentials"
    INVALID_PATH = "invalid_path"

    MISSING_CREDENTIALS = "missing_credentials"
    MALFORMED_CREDENTIALS = "malformed_credentials"
    UNKNOWN_KEY = "unknown_key"
    DISABLED = "disabled"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    ROTATED = "rotated"

    TENANT_MISMATCH = "tenant_mismatch"
    TENANT_UNRESOLVED = "tenant_unresolved"
    NETWORK_NOT_ALLOWED = "network_not_allowed"
    NETWORK_UNKNOWN = "network_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    OUTSIDE_TIME_WINDOW = "outside_time_window"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    MODEL_UNRESOLVED = "model_unresolved"
    LIMIT_INVALID = "limit_invalid"

    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"

    STORE_UNAVAILABLE = "store_unavailable"
    RECORD_CORRUPT = "record_corrupt"

    CREDENTIAL_NOT_ALLOWED = "credential_not_allowed"


LIMIT_REASONS = frozenset(
    {
        Reason.DISABLED,
        Reason.EXPIRED,
        Reason.NOT_YET_VALID,
        Reason.REVOKED,
        Reason.CREDENTIAL_NOT_ALLOWED,
        Reason.TENANT_MISMATCH,
        Reason.TENANT_UNRESOLVED,
        Reason.NETWORK_NOT_ALLOWED,
        Reason.NETWORK_UNKNOWN,
        Reason.METHOD_NOT_ALLOWED,
        Reason.INSUFFICIENT_SCOPE,
        Reason.OUTSIDE_TIME_WINDOW,
        Reason.MODEL_NOT_ALLOWED,
        Reason.MODEL_UNRESOLVED,
        Reason.LIMIT_INVALID,
    }
)
"""Reasons that one check of one node can have."""

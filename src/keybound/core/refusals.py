"""The HTTP shape of every denial, in one table: status, challenge, problem body (RFC 9457).

Dead and unknown keys get one answer, byte for byte but for the denial's id. Nothing that a client
sent and nothing that is stored about a key is ever in an answer. ``problem`` names the type of the
body, and is as stable as the reasons are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from keybound.core.credentials import challenges
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.core.credentials import CredentialForm
    from keybound.core.decision import Denied

PROBLEM_TYPE = "urn:keybound:problem:"
DENIAL_HEADER = "Keybound-Denial"
RETRY_AFTER = 1
"""Seconds after which asking again is worth it, when it could not be decided."""

_LATER = frozenset({429, 503})
"""The statuses of what another try may change."""

CHALLENGED = frozenset({401, 403})
"""The statuses of what another key may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How one group of reasons looks: ``problem`` is public, ``error`` the one of RFC 6750."""

    status: int
    problem: str
    title: str
    detail: str
    error: str | None = None
    tells_reason: bool = False


@dataclass(frozen=True, slots=True)
class RefusalResponse:
    """An answer that any shell can send: status, headers as text, body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """The headers with one line a name, for frameworks that know no other (RFC 9110, 5.3)."""
        lines: dict[str, str] = {}
        for name, value in self.headers:
            lines[name] = f"{lines[name]}, {value}" if name in lines else value
        return lines


_REQUEST = Refusal(
    status=400,
    problem="invalid_request",
    title="Invalid request",
    detail="Send exactly one credential, and a plain absolute path.",
    error="invalid_request",
    tells_reason=True,
)
_MISSING = Refusal(
    status=401,
    problem="missing_credentials",
    title="Credentials required",
    detail="Send an API key, as WWW-Authenticate says.",
)
_TOKEN = Refusal(
    status=401,
    problem="invalid_token",
    title="Invalid API key",
    detail="The API key is not valid. Whoever issued it can find out why with the id.",
    error="invalid_token",
)
_FORBIDDEN = Refusal(
    status=403,
    problem="forbidden",
    title="Not permitted for this API key",
    detail="The API key is valid, but its limits do not permit this request.",
    tells_reason=True,
)
_SCOPE = Refusal(
    status=403,
    problem="insufficient_scope",
    title="Scope not granted to this API key",
    detail="The API key is valid, but was not granted every scope that this request needs.",
    error="insufficient_scope",
    tells_reason=True,
)
_RATE = Refusal(
    status=429,
    problem="too_many_requests",
    title="Too many requests",
    detail="The API key has used up what it may do for now.",
    tells_reason=True,
)
_STORE = Refusal(
    status=503,
    problem="temporarily_unavailable",
    title="Cannot decide at the moment",
    detail="The API key may be good, but this cannot be checked now. Try again later.",
)

_PREPARED_MAX = 1_024
"""Answers that are kept: a view may ask for scopes that a client chose."""

REFUSALS: dict[Reason, Refusal] = {
    Reason.DUPLICATE_CREDENTIALS: _REQUEST,
    Reason.CONFLICTING_CREDENTIALS: _REQUEST,
    Reason.INVALID_PATH: _REQUEST,
    Reason.MISSING_CREDENTIALS: _MISSING,
    Reason.MALFORMED_CREDENTIALS: _TOKEN,
    Reason.UNKNOWN_KEY: _TOKEN,
    Reason.DISABLED: _TOKEN,
    Reason.EXPIRED: _TOKEN,
    Reason.NOT_YET_VALID: _TOKEN,
    Reason.REVOKED: _TOKEN,
    Reason.ROTATED: _TOKEN,
    Reason.CREDENTIAL_NOT_ALLOWED: _FORBIDDEN,
    Reason.TENANT_MISMATCH: _FORBIDDEN,
    Reason.TENANT_UNRESOLVED: _FORBIDDEN,
    Reason.NETWORK_NOT_ALLOWED: _FORBIDDEN,
    Reason.NETWORK_UNKNOWN: _FORBIDDEN,
    Reason.METHOD_NOT_ALLOWED: _FORBIDDEN,
    Reason.INSUFFICIENT_SCOPE: _SCOPE,
    Reason.OUTSIDE_TIME_WINDOW: _FORBIDDEN,
    Reason.MODEL_NOT_ALLOWED: _FORBIDDEN,
    Reason.MODEL_UNRESOLVED: _FORBIDDEN,
    Reason.LIMIT_INVALID: _FORBIDDEN,
    Reason.RATE_LIMITED: _RATE,
    Reason.QUOTA_EXCEEDED: _RATE,
    Reason.STORE_UNAVAILABLE: _STORE,
    Reason.RECORD_CORRUPT: _STORE,
}


class Refusals:
    """Renders denials for one site; everything but the id is prepared once for each reason."""

    def __init__(
        self,
        forms: Sequence[CredentialForm],
        *,
        realm: str = "api",
        reveal_reason: bool = False,
        varies: Sequence[str] = ("Authorization",),
    ) -> None:
        """Build the challenges from the configured credential forms.

        ``varies`` are the headers that an answer depends on; of one name in two cases the first.
        """
        self.challenges = challenges(forms, realm)
        names: dict[str, str] = {}
        for name in varies:
            names.setdefault(name.lower(), name)
        self.varies = tuple(names.values())
        self._reveal = reveal_reason
        self._prepared: dict[tuple[Reason, bool, tuple[str, ...]], RefusalResponse] = {}

    def render(self, denied: Denied, denial_id: str) -> RefusalResponse:
        """Return the answer to a denied request."""
        # A site may open why a key is dead, never whether a guessed key exists.
        reveals = self._reveal and denied.key is not None
        key = denied.reason, reveals, denied.scopes
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(self._prepared) >= _PREPARED_MAX:
                self._prepared.clear()
            prepared = self._prepared[key] = self._prepare(*key)
        length = len(prepared.body) + len(denial_id)
        headers = (
            ("content-length", str(length)),
            (DENIAL_HEADER.lower(), denial_id),
            *prepared.headers,
        )
        body = prepared.body[:-2] + denial_id.encode() + prepared.body[-2:]
        return RefusalResponse(prepared.status, headers, body)

    def _prepare(self, reason: Reason, reveals: bool, scopes: tuple[str, ...]) -> RefusalResponse:  # noqa: FBT001
        """Return an answer with an empty id at its very end."""
        refusal = REFUSALS[reason]
        body: dict[str, object] = {
            "type": PROBLEM_TYPE + refusal.problem,
            "title": refusal.title,
            "status": refusal.status,
            "detail": refusal.detail,
        }
        if refusal.tells_reason or reveals:
            body["reason"] = reason.value
        if scopes:
            body["scopes"] = list(scopes)
        body["id"] = ""
        headers = [
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
        ]
        if self.varies:
            headers.append(("vary", ", ".join(self.varies)))
        if refusal.status in CHALLENGED:
            extra = _extra(refusal, scopes)
            headers += [("www-authenticate", challenge + extra) for challenge in self.challenges]
        if refusal.status in _LATER:
            headers.append(("retry-after", str(RETRY_AFTER)))
        return RefusalResponse(refusal.status, tuple(headers), msgspec.json.encode(body))


def _extra(refusal: Refusal, scopes: tuple[str, ...]) -> str:
    """Return what a challenge says besides what it asks for (RFC 6750 section 3)."""
    error = f', error="{refusal.error}"' if refusal.error else ""
    return f'{error}, scope="{" ".join(scopes)}"' if scopes else error

"""Where a request carries its key: the raw ``Authorization`` value, read once and exactly.

``Bearer K`` (RFC 6750 section 2.1) and ``rest_api_key=K``. Blanks around a value are space and
tab alone (RFC 9110 section 5.6.3); everything that is not one whole credential is malformed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from keybound.core.errors import SettingsError, nearest
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CREDENTIAL_MAX = 512
"""Longest ``Authorization`` value that is read at all."""

_TOKEN68 = r"[A-Za-z0-9._~+/-]+=*"  # token68 of RFC 9110 section 11.2


class Credential(Struct, frozen=True):
    """A key as it came; ``canonical`` is how its form writes it, the same for every spelling."""

    token: str
    canonical: bytes

    def __repr__(self) -> str:
        """Return nothing of the key."""
        return "Credential(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return nothing of it either."""
        return []


class CredentialForm(Protocol):
    """One way to write a key into ``Authorization``."""

    @property
    def name(self) -> str:
        """What settings call this form."""
        ...

    def write(self, token: str) -> bytes:
        """Return the canonical header value that carries ``token``."""
        ...

    def read(self, value: str) -> str | None:
        """Return the credential in ``value``, or ``None`` when it is not exactly of this form."""
        ...

    def challenge(self, realm: str) -> str:
        """Return the challenge that asks for this form, without an error."""
        ...


@dataclass(frozen=True, slots=True)
class Bearer:
    """``Authorization: Bearer K``; the scheme is compared without case."""

    name: str = "bearer"

    def write(self, token: str) -> bytes:
        """Return ``Bearer K``."""
        return b"Bearer " + token.encode("ascii")

    def read(self, value: str) -> str | None:
        """Return what follows the scheme, when it is one token."""
        found = _BEARER.fullmatch(value)
        return found[1] if found else None

    def challenge(self, realm: str) -> str:
        """Return ``Bearer realm="..."``."""
        return f'Bearer realm="{realm}"'


@dataclass(frozen=True, slots=True)
class Param:
    """``Authorization: rest_api_key=K``: a parameter without a scheme, its name without case."""

    name: str

    def write(self, token: str) -> bytes:
        """Return ``name=K``."""
        return f"{self.name}={token}".encode("ascii")

    def read(self, value: str) -> str | None:
        """Return what follows the first ``=``, blanks around it aside, when it is one token."""
        name, equals, rest = value.partition("=")
        if not equals or name.rstrip(" \t").lower() != self.name:
            return None
        token = rest.lstrip(" \t")
        return token if _VALUE.fullmatch(token) else None

    def challenge(self, realm: str) -> str:
        """Return a challenge of a scheme of ours, since none is registered for this form."""
        return f'ApiKey realm="{realm}", param="{self.name}"'


_BEARER = re.compile(rf"bearer +({_TOKEN68})", re.ASCII | re.IGNORECASE)
_VALUE = re.compile(_TOKEN68, re.ASCII)
_PRINTABLE = re.compile(r"[\x20-\x7e\t]*", re.ASCII)

FORMS: dict[str, CredentialForm] = {
    form.name: form for form in (Bearer(), Param(name="rest_api_key"))
}


def parse_forms(names: Iterable[str]) -> tuple[CredentialForm, ...]:
    """Return the forms with these names, in order; raises ``SettingsError`` for an unknown one."""
    chosen = tuple(names)
    for name in chosen:
        if name not in FORMS:
            raise SettingsError("credentials", f"unknown form {name!r}", fix=nearest(name, FORMS))
    if not chosen:
        raise SettingsError("credentials", "no form at all", fix=f"known are {', '.join(FORMS)}")
    return tuple(FORMS[name] for name in dict.fromkeys(chosen))


def read_credential(raw: bytes | None, forms: Sequence[CredentialForm]) -> Credential | Reason:
    """Return the one credential in a raw header value, or why there is none."""
    if raw is None:
        return Reason.MISSING_CREDENTIALS
    if len(raw) > CREDENTIAL_MAX:
        return Reason.MALFORMED_CREDENTIALS
    value = raw.decode("latin-1").strip(" \t")
    if not _PRINTABLE.fullmatch(value):
        return Reason.MALFORMED_CREDENTIALS
    for form in forms:
        token = form.read(value)
        if token is not None:
            return Credential(token, form.write(token))
    # Two lines arrive as "A,B" from some servers; other schemes have commas of their own.
    parts = [part.strip(" \t") for part in value.split(",")]
    if len(parts) > 1 and any(form.read(part) is not None for part in parts for form in forms):
        return Reason.DUPLICATE_CREDENTIALS
    return Reason.MALFORMED_CREDENTIALS

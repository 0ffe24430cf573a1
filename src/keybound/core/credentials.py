"""What a request carries to say who calls: configured forms, and one credential read exactly.

Blanks around a value are space and tab alone (RFC 9110 section 5.6.3); everything that is not one
whole credential is malformed.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from keybound.core.errors import InputError, SettingsError, nearest
from keybound.core.forms import Bare, Basic, Elsewhere, Param, Scheme, SchemeParam
from keybound.core.places import TAG
from keybound.core.reasons import Reason
from keybound.core.spelled import read_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keybound.core.places import Place

CREDENTIAL_MAX = 512
"""Longest value that is read at all."""


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
    """One way to write a key into a request."""

    @property
    def name(self) -> str:
        """What settings call this form."""
        ...

    @property
    def place(self) -> Place:
        """Where it is written."""
        ...

    @property
    def prefix(self) -> bytes | None:
        """What ``write`` puts before every token, or ``None`` where it does more than that."""
        ...

    def write(self, token: str) -> bytes:
        """Return the canonical value that carries ``token``, tagged with its place."""
        ...

    def read(self, value: str) -> str | None:
        """Return the credential in ``value``, or ``None`` when it is not exactly of this form."""
        ...

    def challenge(self, realm: str) -> str:
        """Return the challenge that asks for this form, without an error."""
        ...


FORMS: dict[str, CredentialForm] = {
    form.name: form for form in (Scheme("Bearer"), Param("rest_api_key"))
}
"""What is read where nobody chose."""

_MAKERS: dict[str, tuple[str, Callable[..., CredentialForm]]] = {
    "bearer": ("bearer", partial(Scheme, "Bearer")),
    "rest_api_key": ("rest_api_key", partial(Param, "rest_api_key")),
    "scheme": ("scheme(Token)", Scheme),
    "scheme_param": ("scheme_param(Token, token)", SchemeParam),
    "param": ("param(name)", Param),
    "bare": ("bare", Bare),
    "basic": ("basic(username)", Basic.of),
    "header": ("header(X-API-Key)", partial(Elsewhere.of, "header")),
    "query": ("query(api_key)", partial(Elsewhere.of, "query")),
    "cookie": ("cookie(api_key)", partial(Elsewhere.of, "cookie")),
}
"""How each form is written, and what makes it of its arguments."""


def parse_forms(names: Iterable[str]) -> tuple[CredentialForm, ...]:
    """Return the forms with these names, in order.

    Raises ``SettingsError`` for one that is unknown, given twice, or spelled like another.
    """
    chosen: dict[bytes, CredentialForm] = {}
    for name in names:
        form = _parse_form(name)
        # Nothing tells values apart whose forms begin alike; those of Basic differ within.
        start = (b"Basic " if form.prefix is None else form.prefix).lower()
        other = chosen.setdefault(start, form)
        if other is not form:
            problem = "is given twice" if other == form else f"cannot be told from {other.name}"
            raise SettingsError("credentials", f"{form.name} {problem}", fix="leave one out")
    if not chosen:
        raise SettingsError("credentials", "no form at all", fix=f"known are {', '.join(_MAKERS)}")
    return tuple(chosen.values())


def _parse_form(text: str) -> CredentialForm:
    try:
        name, arguments = read_call("credentials", text)
    except InputError as error:
        raise SettingsError(error.field, error.problem, fix=error.fix) from None
    if name not in _MAKERS:
        raise SettingsError("credentials", f"unknown form {name!r}", fix=nearest(name, _MAKERS))
    example, make = _MAKERS[name]
    if len(arguments) != len(read_call("credentials", example)[1]):
        raise SettingsError("credentials", f"cannot read {text!r}", fix=f"write {example}")
    return make(*arguments)


def challenges(forms: Iterable[CredentialForm], realm: str) -> tuple[str, ...]:
    """Return what asks for these forms, one challenge for each, none of them twice."""
    return tuple(dict.fromkeys(form.challenge(realm) for form in forms))


def read_credential(raw: bytes | None, forms: Sequence[CredentialForm]) -> Credential | Reason:
    """Return the one credential in a raw value, or why there is none.

    A value that is not from ``Authorization`` is tagged, as ``Places.find`` returns it.
    """
    if raw is None:
        return Reason.MISSING_CREDENTIALS
    tag = b""
    if raw.startswith(TAG):
        tag, raw = _untagged(raw)
    if len(raw) > CREDENTIAL_MAX:
        return Reason.MALFORMED_CREDENTIALS
    value = raw.decode("latin-1")
    if not tag:
        value = value.strip(" \t")
    if _PRINTABLE.fullmatch(value):
        for form in forms:
            if form.place.tag == tag and (token := form.read(value)) is not None:
                return Credential(token, form.write(token))
    # Two lines arrive as "A,B" from some servers; other schemes have commas of their own.
    if not tag and "," in value and _any_part_reads(value, forms):
        return Reason.DUPLICATE_CREDENTIALS
    return Reason.MALFORMED_CREDENTIALS


def _any_part_reads(value: str, forms: Sequence[CredentialForm]) -> bool:
    parts = {part.strip(" \t") for part in value.split(",") if part.isascii()}
    there = [form for form in forms if not form.place.tag]
    return any(form.read(part) is not None for part in parts for form in there)


def _untagged(raw: bytes) -> tuple[bytes, bytes]:
    """Return the tag of a value and the rest; what has no whole tag has none."""
    end = raw.find(TAG, 1) + 1
    return raw[:end], raw[end:]


_PRINTABLE = re.compile(r"[\x20-\x7e\t]*")

"""The forms in which a key is written, each of them exact.

Schemes and parameters stand in ``Authorization`` (RFC 9110 section 11.4); a whole header, a
parameter of the query or a cookie is nothing but the key. A key is one ``token68``. ``read`` is
given printable ASCII without blanks around it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Literal, cast

from keybound.core.errors import SettingsError
from keybound.core.names import checked_name
from keybound.core.places import AUTHORIZATION, Place

_TOKEN68 = r"[A-Za-z0-9._~+/-]+=*"  # RFC 9110 section 11.2
_KEY = re.compile(_TOKEN68, re.ASCII)
_VALUE = re.compile(rf'"({_TOKEN68})"|({_TOKEN68})', re.ASCII)
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Scheme:
    """``Authorization: Token K``; ``Bearer`` is the scheme of RFC 6750 section 2.1."""

    place: Place = field(init=False, default=AUTHORIZATION, repr=False)
    scheme: str
    prefix: bytes = field(init=False)
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the scheme; raises ``SettingsError``."""
        name = checked_name("token", self.scheme)
        if name.lower() == "basic":
            raise SettingsError(
                "credentials",
                "Basic encodes a user name and a password",
                fix="write basic(username) or basic(password), whichever is the key",
            )
        object.__setattr__(self, "prefix", f"{name} ".encode("ascii"))
        pattern = rf"{re.escape(name)} +({_TOKEN68})"
        object.__setattr__(self, "_pattern", re.compile(pattern, re.ASCII | re.IGNORECASE))

    @property
    def name(self) -> str:
        """``bearer``, or ``scheme(Token)``."""
        return "bearer" if self.scheme.lower() == "bearer" else f"scheme({self.scheme})"

    def write(self, token: str) -> bytes:
        """Return ``Token K``."""
        return self.prefix + token.encode("ascii")

    def read(self, value: str) -> str | None:
        """Return what follows the scheme, in any case, when it is one token."""
        found = self._pattern.fullmatch(value)
        return found[1] if found else None

    def challenge(self, realm: str) -> str:
        """Return ``Token realm="..."``."""
        return f'{self.scheme} realm="{realm}"'


@dataclass(frozen=True, slots=True)
class Param:
    """``Authorization: rest_api_key=K``: a parameter without a scheme, its name without case."""

    place: Place = field(init=False, default=AUTHORIZATION, repr=False)
    param: str
    prefix: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Check the name; raises ``SettingsError``."""
        object.__setattr__(self, "param", checked_name("token", self.param).lower())
        object.__setattr__(self, "prefix", f"{self.param}=".encode("ascii"))

    @property
    def name(self) -> str:
        """``rest_api_key``, or ``param(name)``."""
        return self.param if self.param == "rest_api_key" else f"param({self.param})"

    def write(self, token: str) -> bytes:
        """Return ``name=K``."""
        return self.prefix + token.encode("ascii")

    def read(self, value: str) -> str | None:
        """Return what follows the first ``=``: blanks around it and quotes are no part of it."""
        return _parameter(self.param, value)

    def challenge(self, realm: str) -> str:
        """Return a challenge of a scheme of ours, since none is registered for this form."""
        return f'ApiKey realm="{realm}", param="{self.param}"'


@dataclass(frozen=True, slots=True)
class SchemeParam:
    """``Authorization: Token token="K"``: one parameter of a scheme, both without case."""

    place: Place = field(init=False, default=AUTHORIZATION, repr=False)
    scheme: str
    param: str
    prefix: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Check both names; raises ``SettingsError``."""
        written = f"{checked_name('token', self.scheme)} {checked_name('token', self.param)}="
        object.__setattr__(self, "prefix", written.encode("ascii"))

    @property
    def name(self) -> str:
        """``scheme_param(Token, token)``."""
        return f"scheme_param({self.scheme}, {self.param})"

    def write(self, token: str) -> bytes:
        """Return ``Token token=K``."""
        return self.prefix + token.encode("ascii")

    def read(self, value: str) -> str | None:
        """Return the value of the parameter, when it is the only one; quotes are no part of it."""
        rest = _behind(self.scheme, value)
        return None if rest is None else _parameter(self.param.lower(), rest)

    def challenge(self, realm: str) -> str:
        """Return ``Token realm="..."``."""
        return f'{self.scheme} realm="{realm}"'


@dataclass(frozen=True, slots=True)
class Bare:
    """``Authorization: K``: the whole value is the key."""

    place: Place = field(init=False, default=AUTHORIZATION, repr=False)
    name: str = field(init=False, default="bare")
    prefix: bytes = field(init=False, default=b"")

    def write(self, token: str) -> bytes:
        """Return the key."""
        return token.encode("ascii")

    def read(self, value: str) -> str | None:
        """Return the value, when it is one token."""
        return value if _KEY.fullmatch(value) else None

    def challenge(self, realm: str) -> str:
        """Return a challenge of a scheme of ours that names nothing."""
        return f'ApiKey realm="{realm}"'


@dataclass(frozen=True, slots=True)
class Basic:
    """``Authorization: Basic ...`` (RFC 7617), where one part is the key, the other anything."""

    place: Place = field(init=False, default=AUTHORIZATION, repr=False)
    part: Literal["username", "password"]
    prefix: None = field(init=False, default=None)

    @classmethod
    def of(cls, part: str) -> Basic:
        """Return the form for ``username`` or ``password``; raises ``SettingsError``."""
        if part not in {"username", "password"}:
            raise SettingsError(
                "credentials",
                f"basic({part}) names no part",
                fix="write basic(username) or basic(password)",
            )
        return cls(cast("Literal['username', 'password']", part))

    @property
    def name(self) -> str:
        """``basic(username)`` or ``basic(password)``."""
        return f"basic({self.part})"

    def write(self, token: str) -> bytes:
        """Return the value with nothing in the other part."""
        pair = f"{token}:" if self.part == "username" else f":{token}"
        return b"Basic " + b64encode(pair.encode("ascii"))

    def read(self, value: str) -> str | None:
        """Return the part that is the key, when the pair is ASCII in the one way to encode it."""
        rest = _behind("Basic", value)
        pair = None if rest is None else _decoded(rest)
        if pair is None:
            return None
        username, colon, password = pair.partition(":")
        key = username if self.part == "username" else password
        return key if colon and _KEY.fullmatch(key) else None

    def challenge(self, realm: str) -> str:
        """Return ``Basic realm="...", charset="UTF-8"``."""
        return f'Basic realm="{realm}", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A header, a parameter of the query, or a cookie whose whole value is the key."""

    place: Place

    @classmethod
    def of(cls, kind: Literal["header", "query", "cookie"], name: str) -> Elsewhere:
        """Return the form for the place of that name; raises ``SettingsError``."""
        return cls(Place.of(kind, checked_name(kind, name)))

    @property
    def name(self) -> str:
        """``header(X-API-Key)``, ``query(api_key)`` or ``cookie(api_key)``."""
        return f"{self.place.kind}({self.place.name})"

    @property
    def prefix(self) -> bytes:
        """The tag of the place."""
        return self.place.tag

    def write(self, token: str) -> bytes:
        """Return the tag of the place and the key."""
        return self.place.tag + token.encode("ascii")

    def read(self, value: str) -> str | None:
        """Return the value, when it is one token."""
        return value if _KEY.fullmatch(value) else None

    def challenge(self, realm: str) -> str:
        """Return a challenge of a scheme of ours that names the place."""
        return f'ApiKey realm="{realm}", {self.place.kind}="{self.place.name}"'


def _behind(scheme: str, value: str) -> str | None:
    """Return what follows a scheme and its blanks; a tab is none of them."""
    name, _, rest = value.partition(" ")
    return rest.lstrip(" ") if name.lower() == scheme.lower() else None


def _parameter(param: str, value: str) -> str | None:
    name, equals, rest = value.partition("=")
    if not equals or name.rstrip(" \t").lower() != param:
        return None
    found = _VALUE.fullmatch(rest.lstrip(" \t"))
    return (found[1] or found[2]) if found else None


def _decoded(text: str) -> str | None:
    """Return what base64 encodes; padding and unused bits are as RFC 4648 section 3.5 has them."""
    try:
        pair = b64decode(text, validate=True)
    except ValueError:
        return None
    if b64encode(pair).decode("ascii") != text or not _PRINTABLE.fullmatch(pair):
        return None
    return pair.decode("ascii")

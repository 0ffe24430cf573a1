"""Every setting, in one frozen record that checks itself. ``keybound.sources`` says where from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from keybound.core.credentials import FORMS, parse_forms
from keybound.core.durations import parse_duration
from keybound.core.errors import InputError, SettingsError
from keybound.core.keys import KeyFormat
from keybound.core.patterns import check_protected
from keybound.core.routes import Route
from keybound.core.secret import Secret
from keybound.rendering import read_renderer
from keybound.sources import load_values

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.rendering import Renderer

SECRET_LENGTH_MIN = 32
"""Characters of the shortest secret."""

HOW_TO_MAKE_ONE = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"

SYNC_EVERY_MAX = 1.0
"""Seconds between two questions to the store where nobody chose."""

REDIS_SCHEMES = ("redis", "rediss", "unix")
"""How the URL of a Redis server begins: plain, with TLS, and a socket of this machine."""

_REDIS_TIMEOUTS = (0.001, 2.0)
_DIFFERENT_MIN = 8

# Told apart by identity from a number that somebody wrote.
_UNCHOSEN: Final = float("inf")

_Text = Annotated[str, msgspec.Meta(max_length=4_096, pattern=r'^[^"\x00-\x1f\x7f]+\Z')]
_Quotable = Annotated[
    str, msgspec.Meta(max_length=200, pattern=r"^[\x20-\x21\x23-\x5b\x5d-\x7e]+\Z")
]
"""What a challenge can quote: printable ASCII without quotes and backslashes."""

_Texts = Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a site decides. Durations are seconds, or text such as ``"5s"``.

    :param database: path of an SQLite file, or the URL of another store:
        ``postgresql://user:password@host:5432/name`` with whatever libpq knows (several hosts,
        ``?sslmode=verify-full``); the primary among them is found. ``memory://`` keeps nothing.
    :param store_connections: connections that one process keeps to it, at least 2: while one
        waits to write, others read.
    :param redis: URL of a Redis or Valkey server that processes share, such as
        ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, ``unix://`` for a socket. Keys
        that one process knows need not be read from the store by others. It needs a ``secret``.
    :param redis_timeout: how long a request waits for it at most, connecting included, before the
        store is asked; then nobody asks it for a second. At least what a connection over TLS takes.
    :param cache_size_max: keys that one process remembers.
    :param secret: what digests and denial ids rest on; at least 32 characters. Losing it ends
        every key; changing it needs the old one in ``retired_secrets``.
    :param retired_secrets: earlier secrets: keys issued under them still work.
    :param prefix: first word of new keys.
    :param accepted_prefixes: earlier first words that are still accepted.
    :param environment: second word of keys; keys of another environment are refused.
    :param protect: path patterns that are guarded at all.
    :param routes: what requests are about; the first that matches wins.
    :param credentials: forms of the ``Authorization`` header that are read.
    :param revoke_within: a revoked key may live this long, whatever fails.
    :param sync_every: how often a process asks the store what changed; at most a third of
        ``revoke_within``. Unless chosen, that third, and no more than a second.
    :param stale_grace: how much longer known keys are served while the store cannot be reached; a
        revoked key may then live for ``revoke_within + stale_grace``.
    :param realm: name of the protected space in challenges.
    :param reveal_reason: tell holders of a dead key why it is dead.
    :param renderer: a function that renders refusals, or ``"package.module:function"``; it changes
        how they look, never what is decided.
    :param wildcard_scopes: a key with the scope ``*`` has every scope.
    """

    database: str = field(default="keybound.db", repr=False)  # a password may stand in it
    store_connections: int = 2
    redis: Secret | None = None
    redis_timeout: float = 0.05
    cache_size_max: int = 100_000
    secret: Secret | None = None
    retired_secrets: tuple[Secret, ...] = ()
    prefix: str = "kb"
    accepted_prefixes: tuple[str, ...] = ()
    environment: str = "live"
    protect: tuple[str, ...] = ("/*",)
    routes: tuple[Route, ...] = ()
    credentials: tuple[str, ...] = tuple(FORMS)
    revoke_within: float = 5.0
    sync_every: float = _UNCHOSEN
    stale_grace: float = 0.0
    realm: str = "api"
    reveal_reason: bool = False
    renderer: Renderer | str | None = None
    wildcard_scopes: bool = False

    def __post_init__(self) -> None:
        """Read every value exactly; raises ``SettingsError`` naming the setting and the fix."""
        for name, read in _READERS.items():
            try:
                object.__setattr__(self, name, read(name, getattr(self, name)))
            except SettingsError:
                raise
            except InputError as error:
                raise SettingsError(name, str(error)) from None
        if self.redis is not None and self.secret is None:
            raise SettingsError(
                "redis", "needs a secret, which proves what is in it", fix=HOW_TO_MAKE_ONE
            )
        parse_forms(self.credentials)
        self.key_format()
        if self.sync_every is _UNCHOSEN:
            object.__setattr__(self, "sync_every", min(SYNC_EVERY_MAX, self.revoke_within / 3))
        if self.sync_every > self.revoke_within / 3:
            raise SettingsError(
                "sync_every",
                f"{self.sync_every:g} s is more than a third of revoke_within",
                fix=f"at most {self.revoke_within / 3:g}, or a larger revoke_within",
            )

    @classmethod
    def load(
        cls, given: Mapping[str, Any] | None = None, *, file: str | Path | None = None
    ) -> Settings:
        """Combine arguments over environment over TOML file over defaults.

        ``file`` is by default ``KEYBOUND_SETTINGS``, else ``keybound.toml`` in the working
        directory if there is one. Raises ``SettingsError`` for an unknown name anywhere.
        """
        return cls(**load_values(given or {}, known=_READERS, lists=_LISTS, file=file))

    def key_format(self) -> KeyFormat:
        """Return the format of new keys."""
        return KeyFormat(self.prefix, self.environment, self.accepted_prefixes)


class _RouteValues(msgspec.Struct, forbid_unknown_fields=True):
    """A route as TOML and JSON spell it."""

    path: str
    methods: str | list[str] | None = None
    model: str | None = None
    access: str | None = None
    scopes: str | list[str] = ""
    tenant: str | None = None
    auth: str = "required"


def _of_type(kind: object, *, fix: str = "") -> Callable[[str, object], object]:
    """Return the reader of values of one type; text from the environment is read leniently."""

    def read(name: str, value: object) -> object:
        try:
            return msgspec.convert(value, kind, strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            raise SettingsError(name, str(error), fix=fix) from None

    return read


def _patterns(name: str, value: object) -> tuple[str, ...]:
    patterns = cast("tuple[str, ...]", _of_type(_Texts)(name, value))
    return tuple(check_protected(name, pattern) for pattern in patterns)


def _routes(name: str, value: object) -> tuple[Route, ...]:
    listed = enumerate(_listed(name, value))
    return tuple(_route(f"{name}[{index}]", each) for index, each in listed)


def _route(place: str, value: object) -> Route:
    if isinstance(value, Route):
        return value
    path = cast("Mapping[str, object]", value).get("path") if isinstance(value, Mapping) else None
    where = f"{place} ({path})" if isinstance(path, str) else place
    try:
        return Route(**msgspec.structs.asdict(msgspec.convert(value, _RouteValues)))
    except msgspec.ValidationError as error:
        raise SettingsError(where, str(error), fix="members are those of Route") from None
    except InputError as error:
        raise SettingsError(where, f"{error.field}: {error.problem}", fix=error.fix) from None


def _secret(name: str, value: object) -> Secret | None:
    if value is None:
        return None
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str):
        raise SettingsError(name, f"is {type(text).__name__}", fix="write text")
    if len(text) < SECRET_LENGTH_MIN or len(set(text)) < _DIFFERENT_MIN:
        raise SettingsError(
            name, f"is not {SECRET_LENGTH_MIN} or more random characters", fix=HOW_TO_MAKE_ONE
        )
    return Secret(text)


def _redis(name: str, value: object) -> Secret | None:
    if value is None:
        return None
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str):
        raise SettingsError(name, f"is {type(text).__name__}", fix="write a URL")
    if not text.startswith(tuple(f"{scheme}://" for scheme in REDIS_SCHEMES)):
        # The value may hold a password, so it is not shown.
        raise SettingsError(
            name,
            "does not begin with redis://, rediss:// or unix://",
            fix="write redis://user:password@host:6379/0",
        )
    if not _plain_url(text):
        raise SettingsError(
            name,
            "has a user or a password in which / ? # @ [ or ] stands as it is",
            fix="write them as %2F %3F %23 %40 %5B %5D",
        )
    return Secret(text)


def _plain_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # its text may hold the password
        return False
    user, _, _ = parts.netloc.rpartition("@")
    return not (parts.fragment or "@" in parts.path + parts.query or {*user} & {*"@[]"})


def _redis_timeout(name: str, value: object) -> float:
    found = _MILLISECONDS.fullmatch(value) if isinstance(value, str) else None
    seconds = int(found[1]) / 1_000 if found else _seconds(name, value)
    low, high = _REDIS_TIMEOUTS
    if not low <= seconds <= high:
        raise SettingsError(name, f"is {seconds:g} s", fix=f"{low:g} to {high:g}, such as '50ms'")
    return seconds


def _secrets(name: str, value: object) -> tuple[Secret, ...]:
    secrets = (_secret(name, each) for each in _listed(name, value))
    return tuple(secret for secret in secrets if secret is not None)


def _listed(name: str, value: object) -> Sequence[object]:
    if isinstance(value, str | Secret | Mapping) or not isinstance(value, Sequence):
        raise SettingsError(name, "is not a list", fix="write a list")
    return cast("Sequence[object]", value)


def _seconds(name: str, value: object) -> float:
    if isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        value = float(value)
    return parse_duration(name, value)


def _interval(name: str, value: object) -> float:
    return _UNCHOSEN if value is _UNCHOSEN else _seconds(name, value)


def _grace(name: str, value: object) -> float:
    return 0.0 if value in {0, "0"} and not isinstance(value, bool) else _seconds(name, value)


_MILLISECONDS = re.compile(r"\s*(\d{1,6})\s*ms\s*", re.ASCII)

_switch = _of_type(bool, fix="write true or false")

_READERS: dict[str, Callable[[str, object], object]] = {
    "database": _of_type(_Text),
    "store_connections": _of_type(Annotated[int, msgspec.Meta(ge=2, le=1_000)]),
    "redis": _redis,
    "redis_timeout": _redis_timeout,
    "cache_size_max": _of_type(Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]),
    "secret": _secret,
    "retired_secrets": _secrets,
    "prefix": _of_type(_Text),
    "accepted_prefixes": _of_type(tuple[_Text, ...]),
    "environment": _of_type(_Text),
    "protect": _patterns,
    "routes": _routes,
    "credentials": _of_type(_Texts),
    "revoke_within": _seconds,
    "sync_every": _interval,
    "stale_grace": _grace,
    "realm": _of_type(_Quotable),
    "reveal_reason": _switch,
    "renderer": lambda _, value: read_renderer(value),
    "wildcard_scopes": _switch,
}

_LISTS = frozenset({"retired_secrets", "accepted_prefixes", "protect", "routes", "credentials"})

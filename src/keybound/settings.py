"""Every setting, in one frozen record that checks itself, and where settings come from.

The same names everywhere: a keyword in Python, ``KEYBOUND_NAME`` in the environment, a key of
``[keybound]`` in a TOML file. Python wins over the environment, that over the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from keybound.core.credentials import FORMS, parse_forms
from keybound.core.durations import parse_duration
from keybound.core.errors import InputError, SettingsError, nearest
from keybound.core.keys import KeyFormat
from keybound.core.routes import Route, check_pattern
from keybound.core.secret import Secret

ENVIRONMENT_PREFIX = "KEYBOUND_"
SETTINGS_FILE = "keybound.toml"
SECRET_LENGTH_MIN = 32

_NOT_SETTINGS = {"KEYBOUND_SETTINGS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a site decides. Durations are seconds, or text such as ``"5s"``.

    :param database: path of an SQLite file, or a database URL.
    :param store_connections: connections that one process keeps to it.
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
    :param sync_every: how often a process asks the store what changed; at most a third of it.
    :param stale_grace: how much longer known keys are served while the store cannot be reached; a
        revoked key may then live for ``revoke_within + stale_grace``.
    :param realm: name of the protected space in challenges.
    :param reveal_reason: tell holders of a dead key why it is dead.
    :param wildcard_scopes: a key with the scope ``*`` has every scope.
    """

    database: str = "keybound.db"
    store_connections: int = 2
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
    sync_every: float = 1.0
    stale_grace: float = 0.0
    realm: str = "api"
    reveal_reason: bool = False
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
        parse_forms(self.credentials)
        self.key_format()
        if self.sync_every > self.revoke_within / 3:
            raise SettingsError(
                "sync_every",
                f"{self.sync_every:g} s is more than a third of revoke_within",
                fix=f"at most {self.revoke_within / 3:g}, or a larger revoke_within",
            )

    @classmethod
    def load(
        cls,
        given: Mapping[str, Any] | None = None,
        *,
        file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Combine Python, environment, file and defaults.

        ``file`` is by default ``KEYBOUND_SETTINGS``, else ``keybound.toml`` in the working
        directory if there is one. Raises ``SettingsError`` for an unknown name anywhere.
        """
        variables = os.environ if environ is None else environ
        chosen = {
            **_from_file(file or variables.get("KEYBOUND_SETTINGS")),
            **_from_environment(variables),
            **(given or {}),
        }
        for name in chosen:
            _check_name(name, shown=name)
        return cls(**chosen)

    def key_format(self) -> KeyFormat:
        """Return the format of new keys."""
        return KeyFormat(self.prefix, self.environment, self.accepted_prefixes)


def _from_file(file: str | Path | None) -> dict[str, Any]:
    path = Path(file or SETTINGS_FILE)
    if not file and not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError("settings file", f"{path.absolute()}: {error}") from None
    table = content.get("keybound", {})
    others = set(content) - {"keybound"}
    if others or not isinstance(table, dict):
        raise SettingsError(
            "settings file", f"{path.absolute()} has {sorted(others)}", fix="use [keybound] alone"
        )
    for name in table:
        _check_name(name, shown=f"{name} in {path.absolute()}")
    return dict(table)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in _NOT_SETTINGS:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        _check_name(name, shown=variable)
        read = _TEXT_READERS.get(name)
        chosen[name] = text if read is None else read(name, text)
    return chosen


def _check_name(name: str, *, shown: str) -> None:
    known = [each.name for each in fields(Settings)]
    if name not in known:
        raise SettingsError(shown, "is no setting", fix=nearest(name, known))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or '"' in value:
        raise SettingsError(name, "is not a text on one line", fix="write text without quotes")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SettingsError(name, "is not a list", fix="write a list of texts")
    return tuple(_text(name, each) for each in value)


def _patterns(name: str, value: object) -> tuple[str, ...]:
    patterns = _texts(name, value)
    if not patterns:
        raise SettingsError(name, "guards nothing", fix="write ['/*'] for every path")
    return tuple(check_pattern(name, pattern) for pattern in patterns)


def _routes(name: str, value: object) -> tuple[Route, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise SettingsError(name, "is not a list", fix="write a list of routes")
    return tuple(each if isinstance(each, Route) else _route(name, each) for each in value)


def _route(name: str, value: object) -> Route:
    known = Route.__slots__
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SettingsError(name, f"{value!r} is no route", fix="write path and what it is")
    for key in value:
        if key not in known:
            raise SettingsError(f"{name}.{key}", "is no member of a route", fix=nearest(key, known))
    if "path" not in value:
        raise SettingsError(name, "a route has no path", fix="add path = '/v1/...'")
    return Route(**value)


def _secret(name: str, value: object) -> Secret | None:
    if value is None:
        return None
    secret = value if isinstance(value, Secret) else Secret(_text(name, value))
    if len(secret.reveal()) < SECRET_LENGTH_MIN or len(set(secret.reveal())) < 8:  # noqa: PLR2004
        raise SettingsError(
            name, f"is shorter than {SECRET_LENGTH_MIN} random characters", fix=SECRET_FIX
        )
    return secret


def _secrets(name: str, value: object) -> tuple[Secret, ...]:
    if isinstance(value, str | Secret) or not isinstance(value, Sequence):
        raise SettingsError(name, "is not a list", fix="write a list of earlier secrets")
    return tuple(secret for each in value if (secret := _secret(name, each)) is not None)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(name, f"{value!r} is not a boolean", fix="write true or false")
    return value


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**9:
        raise SettingsError(name, f"{value!r} is not a positive whole number", fix="write 2")
    return value


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, int | float | str):
        raise SettingsError(name, f"{value!r} is not a duration", fix="write seconds, or '5s'")
    return parse_duration(name, value)


def _grace(name: str, value: object) -> float:
    return 0.0 if value in {0, "0"} and not isinstance(value, bool) else _seconds(name, value)


SECRET_FIX = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"

_READERS: dict[str, Callable[[str, object], object]] = {
    "database": _text,
    "store_connections": _count,
    "cache_size_max": _count,
    "secret": _secret,
    "retired_secrets": _secrets,
    "prefix": _text,
    "accepted_prefixes": _texts,
    "environment": _text,
    "protect": _patterns,
    "routes": _routes,
    "credentials": _texts,
    "revoke_within": _seconds,
    "sync_every": _seconds,
    "stale_grace": _grace,
    "realm": _text,
    "reveal_reason": _flag,
    "wildcard_scopes": _flag,
}


def _split(_name: str, text: str) -> tuple[str, ...]:
    return tuple(part.strip(" \t") for part in text.split(",") if part.strip(" \t"))


def _number(name: str, text: str) -> float | int | str:
    try:
        return int(text) if name in {"store_connections", "cache_size_max"} else float(text)
    except ValueError:
        return text


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise SettingsError(name, f"{text!r} is not a boolean", fix="write true or false")
    return text.lower() in {"true", "1"}


def _json_routes(name: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        fix = """write a JSON list: [{"path": "/v1/messages", "model": "message"}]"""
        raise SettingsError(name, f"is not JSON ({error})", fix=fix) from None


_TEXT_READERS: dict[str, Callable[[str, str], object]] = {
    "store_connections": _number,
    "cache_size_max": _number,
    "retired_secrets": _split,
    "accepted_prefixes": _split,
    "protect": _split,
    "routes": _json_routes,
    "credentials": _split,
    "revoke_within": _number,
    "sync_every": _number,
    "stale_grace": _number,
    "reveal_reason": _boolean,
    "wildcard_scopes": _boolean,
}
"""How the text of an environment variable becomes a value, where it is not text already."""

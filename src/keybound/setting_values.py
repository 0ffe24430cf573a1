"""How the value of each kind of setting is read: from Python, TOML, or text of the environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, cast

import msgspec

from keybound.caches.credentials import Credentials
from keybound.caches.redis_urls import RedisURL
from keybound.core.durations import parse_duration
from keybound.core.errors import InputError, SettingsError
from keybound.core.patterns import check_protected
from keybound.core.proxies import read_trusted
from keybound.core.routes import Route
from keybound.core.secret import Secret
from keybound.plugins import named_function, site_function

SECRET_LENGTH_MIN = 32
"""Characters of the shortest secret."""

HOW_TO_MAKE_ONE = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"

_REDIS_TIMEOUTS = (0.001, 2.0)
_DIFFERENT_MIN = 8

UNCHOSEN: Final = float("inf")
"""Told apart by identity from a number that somebody wrote."""

_TEXT_MAX, _QUOTABLE_MAX = 4_096, 200
_Text = Annotated[str, msgspec.Meta(max_length=_TEXT_MAX, pattern=r'^[^"\x00-\x1f\x7f]+\Z')]
_Quotable = Annotated[
    str, msgspec.Meta(max_length=_QUOTABLE_MAX, pattern=r"^[\x20-\x21\x23-\x5b\x5d-\x7e]+\Z")
]
"""What a challenge can quote: printable ASCII without quotes and backslashes."""

_A_TEXT = f"1 to {_TEXT_MAX:,} characters without double quotes and control characters"


class _RouteValues(msgspec.Struct, forbid_unknown_fields=True):
    """A route as TOML and JSON spell it."""

    path: str
    methods: str | list[str] | None = None
    model: str | list[str] | None = None
    access: str | None = None
    scopes: str | list[str] = ""
    tenant: str | None = None
    auth: str = "required"


def of_type(kind: object, what: str) -> Callable[[str, object], object]:
    """Return the reader of values of one type; text from the environment is read leniently.

    ``what`` is what a value that cannot be read should have been.
    """

    def read(name: str, value: object) -> object:
        try:
            return msgspec.convert(value, kind, strict=not isinstance(value, str))
        except msgspec.ValidationError:  # whose text speaks of types, and says no more
            raise SettingsError(name, "cannot be read", fix=f"write {what}") from None

    return read


switch = of_type(bool, "true or false")
text = of_type(_Text, _A_TEXT)
text_or_none = of_type(_Text | None, _A_TEXT)
texts = of_type(tuple[_Text, ...], f"a list of texts, each of {_A_TEXT}")
some_texts = of_type(
    Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)],
    f"a list with at least one text, each of {_A_TEXT}",
)
quotable = of_type(
    _Quotable, f'1 to {_QUOTABLE_MAX} characters of printable ASCII without " and \\'
)


def whole(low: int, high: int) -> Callable[[str, object], object]:
    """Return the reader of whole numbers between two."""
    kind = Annotated[int, msgspec.Meta(ge=low, le=high)]
    return of_type(kind, f"a whole number from {low:,} to {high:,}")


def patterns(name: str, value: object) -> tuple[str, ...]:
    """Read patterns of what is guarded."""
    patterns = cast("tuple[str, ...]", some_texts(name, value))
    return tuple(check_protected(name, pattern) for pattern in patterns)


def routes(name: str, value: object) -> tuple[Route, ...]:
    """Read the route table."""
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


def secret(name: str, value: object) -> Secret | None:
    """Read a secret, or that there is none."""
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


def redis(name: str, value: object) -> Secret | None:
    """Read the URL of a Redis server, or that there is none."""
    if value is None:
        return None
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str):
        raise SettingsError(name, f"is {type(text).__name__}", fix="write a URL")
    RedisURL.parse(text)
    return Secret(text)


def redis_credentials(name: str, value: object) -> Credentials | None:
    """Read what says who we are at every connection to Redis, or its name."""
    return value if value is None or isinstance(value, Credentials) else Credentials(name, value)


def redis_timeout(name: str, value: object) -> float:
    """Read a short time, such as ``50ms``."""
    found = _MILLISECONDS.fullmatch(value) if isinstance(value, str) else None
    timeout = int(found[1]) / 1_000 if found else seconds(name, value)
    low, high = _REDIS_TIMEOUTS
    if not low <= timeout <= high:
        raise SettingsError(name, f"is {timeout:g} s", fix=f"{low:g} to {high:g}, such as '50ms'")
    return timeout


def secrets(name: str, value: object) -> tuple[Secret, ...]:
    """Read earlier secrets."""
    listed = (secret(name, each) for each in _listed(name, value))
    return tuple(each for each in listed if each is not None)


def _listed(name: str, value: object) -> Sequence[object]:
    if isinstance(value, str | Secret | Mapping) or not isinstance(value, Sequence):
        raise SettingsError(name, "is not a list", fix="write a list")
    return cast("Sequence[object]", value)


def seconds(name: str, value: object) -> float:
    """Read a span of time."""
    if isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        value = float(value)
    return parse_duration(name, value)


def interval(name: str, value: object) -> float:
    """Read one that may be left to us."""
    return UNCHOSEN if value is UNCHOSEN else seconds(name, value)


def grace(name: str, value: object) -> float:
    """Read one that may be none at all."""
    return 0.0 if value in {0, "0"} and not isinstance(value, bool) else seconds(name, value)


_MILLISECONDS = re.compile(r"\s*(\d{1,6})\s*ms\s*", re.ASCII)


def functions(name: str, value: object) -> tuple[Callable[..., Any], ...]:
    """Read functions of the site, or their names."""
    return tuple(site_function(name, each) for each in _listed(name, value))


def parsed(kind: Any) -> Callable[[str, object], object]:  # noqa: ANN401 - a class with ``parse``
    """Return the reader of what ``kind.parse`` makes of a value; of ``None`` it makes nothing."""

    def read(name: str, value: object) -> object:
        if value is None or isinstance(value, kind):
            return value
        if isinstance(value, list | tuple):
            listed = [named_function(name, each) for each in cast("Sequence[object]", value)]
            return kind.parse(listed[0] if len(listed) == 1 else listed)
        return kind.parse(named_function(name, value))

    return read


def proxies(_name: str, value: object) -> int | tuple[str, ...]:
    """Read networks of proxies, or how many there are."""
    return read_trusted(value)

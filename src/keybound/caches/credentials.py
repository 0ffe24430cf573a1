"""Who we are at Redis, told anew at every connection by something of the site's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from keybound.caches.late import Late
from keybound.caches.redis_urls import RedisURL
from keybound.core.errors import CacheError, SettingsError
from keybound.core.site_functions import is_awaited
from keybound.plugins import SiteFunction

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from keybound.core.secret import Secret

    UserAndPassword = tuple[str, ...]

_FIX = "give an object with get_credentials(), a function, or write 'package.module:attribute'"


class Credentials:
    """The setting ``redis_credentials``: what answers a password, or a user and a password.

    It is called in a thread of its own, so that a request waits for it no longer than for Redis; an
    answer that came too late is used by the next connection. Printing it shows no credentials.
    """

    def __init__(self, setting: str, given: object) -> None:
        """Take an object with ``get_credentials()``, a function, or the name of either."""
        self._setting = setting
        self._given = SiteFunction(setting, given) if isinstance(given, str) else given
        if not isinstance(self._given, SiteFunction):
            self._function()
        self._late = Late(self._ask, name="keybound-credentials")

    def within(self, seconds: float) -> UserAndPassword:
        """Return ``(password,)`` or ``(user, password)``.

        Raises ``CacheError``, and ``TimeoutError``.
        """
        return self._late.within(seconds)

    def begin(self) -> Future[UserAndPassword]:
        """Begin to ask; tell ``taken`` of what is used."""
        return self._late.begin()

    def taken(self, future: Future[UserAndPassword]) -> None:
        """Note that an answer was used."""
        self._late.taken(future)

    def renewed(self) -> Credentials:
        """Return the same for a forked child, in which no thread of the parent goes on."""
        return Credentials(self._setting, self._given)

    def _function(self) -> Callable[[], object]:
        given = self._given.found if isinstance(self._given, SiteFunction) else self._given
        found: Any = getattr(given, "get_credentials", given)
        if not callable(found) or isinstance(given, type):
            problem = f"is {type(given).__qualname__}, which gives no credentials"
            raise SettingsError(self._setting, problem, fix=_FIX)
        if is_awaited(found):
            fix = "give a plain one: it is called in a thread of its own"
            raise SettingsError(self._setting, "is an async function", fix=fix)
        return cast("Callable[[], object]", found)

    def _ask(self) -> UserAndPassword:
        try:
            answer = self._function()()
        except SettingsError as error:
            raise CacheError(str(error)) from None
        except Exception as error:  # noqa: BLE001 - whatever it was, and its text may hold anything
            msg = f"{self._setting} raised {type(error).__name__}"
            raise CacheError(msg) from None
        match answer:
            case str(password) | (str(password),):
                return (password,)
            case (str(user), str(password)):
                return (user, password)
            case _:
                pass
        msg = f"{self._setting} answered {type(answer).__qualname__}, not (user, password)"
        raise CacheError(msg)


def check_credentials(credentials: Credentials | None, redis: Secret | None) -> None:
    """Raise ``SettingsError`` where the settings ``redis`` and ``redis_credentials`` contradict."""
    if credentials is None:
        return
    if redis is None:
        raise SettingsError("redis_credentials", "is for redis, which is not set", fix="set redis")
    if RedisURL.parse(redis.reveal()).has_credentials:
        raise SettingsError(
            "redis_credentials",
            "says who we are, and so does the URL of redis",
            fix="take user and password out of the URL",
        )

"""The site's own authenticators: who calls, where no key of ours came."""

from __future__ import annotations

from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, TypeAlias

from keybound.core.errors import SettingsError
from keybound.core.principals import Principal
from keybound.core.site_functions import is_awaited
from keybound.loops import here
from keybound.plugins import SiteFunction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from keybound.core.head import Head

    Answer: TypeAlias = Principal | None
    Authenticator: TypeAlias = Callable[[Head], Answer | Awaitable[Answer]]


_AWAITED = "authenticators", "one is awaited"
_FIX = "use an AsyncGuard"


class Authenticators:
    """Asks one after the other; the first that knows wins. What one raises ends the request."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        """Ask these, in order."""
        self._all = tuple(authenticators)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._all)

    def refuse_awaited(self) -> None:
        """Raise ``SettingsError`` for one that has to be awaited, where nobody can.

        One that is named is not imported yet: it may be in the module that asks.
        """
        if any(map(is_awaited, self._all)):
            raise SettingsError(*_AWAITED, fix=_FIX)

    def ask(self, head: Head) -> Principal | None:
        """Return who calls; raises ``SettingsError`` for one that has to be awaited."""
        for authenticate in self._all:
            found: object = authenticate(head)
            if isawaitable(found):
                if iscoroutine(found):
                    found.close()
                raise SettingsError(*_AWAITED, fix=_FIX)
            if found is not None:
                return _known(found)
        return None

    async def ask_async(self, head: Head) -> Principal | None:
        """Return who calls; one that blocks has a thread."""
        for authenticate in self._all:
            function = _function(authenticate)
            if iscoroutinefunction(function):
                found: object = await function(head)
            else:
                found = await here().in_thread(_asked, function, head)
                if isawaitable(found):
                    found = await found
            if found is not None:
                return _known(found)
        return None


def _asked(function: Callable[[Head], object], head: Head) -> object:
    """Return the answer; no future can hold a ``StopIteration``, and who waits for it would."""
    try:
        return function(head)
    except StopIteration as error:
        raise RuntimeError from error


def _function(authenticate: Authenticator) -> Callable[[Head], object]:
    return authenticate.function if isinstance(authenticate, SiteFunction) else authenticate


def _known(found: object) -> Principal:
    if not isinstance(found, Principal):
        problem = f"one answered {type(found).__name__}"
        raise SettingsError("authenticators", problem, fix="return a Principal, or None")
    return found

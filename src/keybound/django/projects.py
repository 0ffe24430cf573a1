"""What one process guards its project with: one engine, two guards over it, and the URLconf."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.signals import setting_changed

from keybound.core.table import METHOD_REMEMBERED_MAX, PATH_REMEMBERED_MAX
from keybound.django.configuration import Configuration
from keybound.django.facts import Decide
from keybound.django.owners import FindOwner
from keybound.django.routers import URLRouter
from keybound.django.views import fields_of, is_async
from keybound.guard import Guard
from keybound.locks import ForkLock
from keybound.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from keybound.core.effects import Effect
    from keybound.core.identity import Identity
    from keybound.core.table import RouteMatch
    from keybound.django.facts import Asked
    from keybound.engine import Engine
    from keybound.guard import AsyncGuard

    Kwargs = Mapping[str, object]
    Remembered = tuple[Callable[..., Any], Kwargs, bool]

_VIEWS_MAX = 4_096


def guard() -> Guard:
    """Return the guard of this process, made at the first call from ``settings.KEYBOUND``.

    Nothing is opened before it is used. Ask again rather than keep it: ``override_settings`` makes
    another. Raises ``MisconfiguredError``, which is an ``ImproperlyConfigured``.
    """
    return current().given


def async_guard() -> AsyncGuard:
    """Return the awaiting guard over the same engine."""
    return current().given_async


class Project:
    """The guards of a project, and what it says of owners.

    Its own code is given guards of no application: what the URLconf asks decides nothing that
    somebody else puts behind them.
    """

    def __init__(self) -> None:
        """Read the settings; raises ``MisconfiguredError``."""
        self.configuration = Configuration.read()
        with self.configuration.named():
            self.given = Guard.from_settings(**self.configuration.settings)
            self.guard = self.given.of(self)
        self.teller = Teller(self.given.engine.clock.boot)
        self.given_async = self.given.to_async()
        self.async_guard = self.given_async.of(self)
        self.owned = self.configuration.owner is not None
        self.checked: object = None
        self.looks = True
        self.views: dict[tuple[str, str], Remembered] = {}
        self.router: URLRouter | None = None
        self._own = self.guard.engine
        self.engine: Engine | None = None
        self._own.add_source(self._declare)

    @property
    def varies(self) -> tuple[str, ...]:
        """The headers that answers depend on, for ``Vary``."""
        return self.guard.engine.refuser.varies

    def attend(self) -> Engine:
        """Return the engine in force, whose table has the URLconf in it.

        Raises ``InputError`` for demands on one view that contradict each other.
        """
        engine = self.guard.engine
        if engine is not self.engine:
            with _lock.held():
                if engine is not self.engine:
                    engine.add_source(self._declare)
                    self._read(engine)
                    self.engine = engine
        return engine

    def remember(
        self, asked: Asked, view: Callable[..., Any], kwargs: Kwargs, *, demanded: bool
    ) -> None:
        """Keep the view and the arguments that a decision was about, for requests alike."""
        method, path, *_ = asked
        if len(path) > PATH_REMEMBERED_MAX or len(method) > METHOD_REMEMBERED_MAX:
            return
        if None in fields_of(kwargs).values():  # what else a converter made is not for keeping
            return
        if len(self.views) >= _VIEWS_MAX:
            self.views.clear()
        self.views[method, path] = view, dict(kwargs), demanded

    def forget_urls(self) -> None:
        """Read the URLconf anew at the next use."""
        self.engine = None
        self.checked = None

    def close(self) -> None:
        """Let the store go."""
        self._own.close()

    def match(self, asked: Asked) -> RouteMatch | None:
        """Return what the table says of a request."""
        method, path, *_, routed = asked
        self.attend()
        table = self.guard.table
        return table.match(method, path) if routed else table.match_unrouted(method, path)

    def perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Answer one effect of a request, blocking."""
        return self._blocking[effect.__class__](effect)

    async def aperform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Answer one effect of a request, awaiting."""
        return await self._awaiting[effect.__class__](effect)

    @cached_property
    def _blocking(self) -> dict[type[Effect[Any]], Callable[[Any], Any]]:
        return {
            Decide: lambda effect: self.guard.authorize(*effect.facts, routed=effect.routed),
            FindOwner: lambda effect: self._owner(effect.owner, effect.identity),
        }

    @cached_property
    def _awaiting(self) -> dict[type[Effect[Any]], Callable[[Any], Awaitable[Any]]]:
        return {
            Decide: lambda effect: self.async_guard.authorize(*effect.facts, routed=effect.routed),
            FindOwner: lambda effect: self._async_owner(effect.owner, effect.identity),
        }

    @cached_property
    def _owner(self) -> Callable[..., Any]:
        load = self.configuration.load_owner()
        return async_to_sync(load) if is_async(load) else _raising(load)

    @cached_property
    def _async_owner(self) -> Callable[..., Awaitable[Any]]:
        load = self.configuration.load_owner()
        return load if is_async(load) else sync_to_async(_raising(load), thread_sensitive=True)

    def _declare(self, engine: Engine) -> None:
        if self.guard.engine is engine:
            self.attend()

    def _read(self, engine: Engine) -> None:
        urlconf = getattr(settings, "ROOT_URLCONF", None)
        self.views = {}
        self.router = None if urlconf is None else URLRouter(urlconf)
        if self.router is not None:
            engine.declare_router(self, self.router)


def _raising(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose ``StopIteration`` is an error: no future can hold it, and waits."""

    def call(owner: str, identity: Identity) -> object:
        try:
            found: object = load(owner, identity)
        except StopIteration as error:
            raise RuntimeError from error
        return found

    return call


_lock = ForkLock()
_current: Project | None = None


def current() -> Project:
    """Return what guards this process now."""
    return _current or _make()


def _make() -> Project:
    global _current  # noqa: PLW0603 - one for each process, like Django's own settings
    with _lock.held():
        if _current is None:
            _current = Project()
        return _current


_URLS = frozenset(
    {"INSTALLED_APPS", "LANGUAGES", "LANGUAGE_CODE", "MIDDLEWARE", "ROOT_URLCONF", "USE_I18N"}
)


def _renew(*, setting: str, **_more: object) -> None:
    """Follow what a test overrides."""
    global _current  # noqa: PLW0603 - the same
    project = _current
    if project is None:
        return
    if setting == "KEYBOUND":
        _current = None
        project.close()
    elif setting in _URLS:
        project.forget_urls()


setting_changed.connect(_renew, dispatch_uid="keybound.django")

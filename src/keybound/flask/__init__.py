"""Flask: ``kb = Keybound(); kb.init_app(app)``, and what views ask of a key.

    kb = Keybound(app)

    @app.post("/v1/search")
    @kb.requires("invoices", model="invoice", access="read")
    def search():
        return {"hello": current_key.name}

Requests are decided before Flask sees them, static files and pages that are not there too: what a
view requires is read from the application's rules. The view that Flask chose checks it again.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError

try:
    from flask import Blueprint, Flask, current_app, has_app_context, has_request_context, request
except ModuleNotFoundError as error:
    raise MissingExtraError.of(error, extra="flask") from None

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

from werkzeug.local import LocalProxy

from keybound.context import NO_KEY, NOTHING, Unknown, frameworks
from keybound.core.demands import Demand
from keybound.core.errors import SettingsError
from keybound.flask.declarations import read_again
from keybound.flask.demands import demanding, mark
from keybound.flask.protection import EXTENSION, Protection, check_view, protection_of
from keybound.guard import Guard
from keybound.installing import nested, refuse_twice, usable_guard
from keybound.settings import Settings
from keybound.sources import from_framework
from keybound.wsgi import APIKeyMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from keybound.core.facts import Access
    from keybound.core.identity import Identity
    from keybound.flask.refusals import Renderer

__all__ = ["Keybound", "current_key", "require"]

CONFIG = "KEYBOUND"
"""The settings of an application stand under this name in its ``config``."""

_SETTINGS = frozenset(each.name for each in fields(Settings))

F = TypeVar("F")


class Keybound:
    """Guards applications, and says what their views require.

    ``requires`` and ``refusal`` hold for every application of it.
    """

    def __init__(
        self,
        app: Flask | None = None,
        guard: Guard | None = None,
        **settings: Any,  # noqa: ANN401 - as Settings reads them
    ) -> None:
        """Guard ``app``, or only keep guard and settings for ``init_app``."""
        self._given = guard, settings
        self._newest: Guard | None = None
        self._renderer: Renderer | None = None
        self._marked: WeakSet[Any] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, guard: Guard | None = None, **settings: Any) -> None:  # noqa: ANN401 - the same
        """Guard ``app``; routes may be added before or after, and nothing is opened yet.

        Without a guard, one is made from ``settings`` over ``app.config["KEYBOUND"]``, whose names
        are those of ``Settings`` in capitals, over the environment and ``keybound.toml``. Raises
        ``SettingsError``, also where ``app`` is guarded or wrapped already.
        """
        if EXTENSION in app.extensions:
            raise SettingsError(
                "init_app", f"was called for {app.name} already", fix="call it once"
            )
        refuse_twice(app, APIKeyMiddleware)
        _refuse_wrapped(app)
        given, kept = self._given
        chosen = _guard(app, guard or given, {**kept, **settings})
        app.extensions[EXTENSION] = Protection(
            app, chosen, renderer=lambda: self._renderer, marked=self._marked
        )
        self._newest = chosen

    @property
    def guard(self) -> Guard:
        """The guard of the current application, else of the one that was guarded last.

        Raises ``RuntimeError`` before there is one.
        """
        if has_app_context() and EXTENSION in current_app.extensions:
            return protection_of(current_app).given
        if self._newest is None:
            msg = "nothing is guarded yet: call init_app(app)"
            raise RuntimeError(msg)
        return self._newest

    def requires(
        self,
        *scopes: str,
        model: str | None = None,
        access: Access | None = None,
        tenant: str | None = None,
    ) -> Callable[[F], F]:
        """Ask for a key, with these scopes, for what a request is about, as in ``Route``.

        Decorates views above and below ``@app.route``, methods of a ``MethodView``, and whole
        classes of views. Raises ``InputError``; ``access="read"`` for a view that answers DELETE,
        PATCH or PUT keeps the application from serving.
        """
        demand = Demand.read(scopes, model=model, access=access, tenant=tenant)

        def decorate(view: F) -> F:
            checked = demanding(view, demand, check_view)
            if not isinstance(checked, type):
                self._marked.add(checked)
            return checked

        return decorate

    def protect(
        self,
        blueprint: Blueprint,
        *scopes: str,
        model: str | None = None,
        access: Access | None = None,
        tenant: str | None = None,
    ) -> None:
        """Ask the same for every view of a blueprint, and of the blueprints within it."""
        mark(blueprint, Demand.read(scopes, model=model, access=access, tenant=tenant))
        read_again()

    def refusal(self, render: Renderer) -> Renderer:
        """Let a function render refusals: it is given the answer, and its body as a dictionary.

        It returns whatever a view may return, within an application context. The status and the
        headers that a refusal needs stay as they are; if it fails, the usual answer is sent.
        """
        self._renderer = render
        return render


def require(
    scopes: str | Iterable[str] = (),
    *,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Identity:
    """Return who is calling, if that key may do this as well; otherwise the request is refused.

    ``model``, ``access`` and ``tenant`` are as in ``Route``, with the arguments of the view as
    fields. It only narrows: what the middleware refused never comes here. Raises an
    ``HTTPException`` that answers as every refusal does, and ``InputError``.
    """
    demand = Demand.read(scopes, model=model, access=access, tenant=tenant)
    return protection_of(current_app).check(demand)


def _current() -> Identity | None:
    return cast("Identity | None", request.environ.get("keybound"))


current_key: Identity = cast("Identity", LocalProxy(_current))
"""Who is calling; false, and equal to ``None``, where no key was needed and outside of requests."""


def _here() -> Identity | Unknown:
    """Return who is calling as ``keybound.current_key()`` asks, outside of requests as well."""
    if not has_request_context() or "keybound" not in request.environ:
        return NOTHING
    return _current() or NO_KEY


frameworks.append(_here)


def _guard(app: Flask, guard: object, settings: Mapping[str, Any]) -> Guard:
    configured = cast("Mapping[str, object]", app.config).get(CONFIG)
    if guard is None:
        return Guard.from_settings(
            **{**from_framework(CONFIG, configured, known=_SETTINGS), **settings}
        )
    if configured or settings:
        found = f"app.config[{CONFIG!r}]" if configured else ", ".join(settings)
        raise SettingsError("guard", f"is given besides {found}", fix="leave one of them out")
    return usable_guard(Guard, guard)


def _refuse_wrapped(app: Flask) -> None:
    """Raise for an application that something stands around which would be inside of us.

    ``ProxyFix`` there tells the client's address to Flask, and to us that of the proxy.
    """
    inner = list(nested(app.wsgi_app))
    if len(inner) > 1:
        raise SettingsError(
            "init_app",
            f"would put keybound around {type(inner[0]).__name__}",
            fix="call it before app.wsgi_app is wrapped, so that the other one is outside; another "
            "application that it calls is guarded by a middleware of its own, or by nothing",
        )

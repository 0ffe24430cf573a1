"""What a request costs with keybound in front, as ratios to the same application without it.

    python benchmarks/inprocess.py [--rounds 60] [--cpu-time]

The whole policy on a warm key (tenant, network, method, read-only, model, scope and lifetime) in
front of Starlette, Flask, and applications without a framework; refusals; and as floors a
middleware that does nothing and Starlette's own over a dictionary.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from flask import Flask
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route as StarletteRoute
from timing import Case, added, measure, report

import keybound.wsgi
from keybound import Guard, Limits, Route
from keybound.asgi import APIKeyMiddleware
from keybound.flask import Keybound

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request

TARGETS = {"Starlette": 1.35, "Flask": 1.10}
WSGI_MORE = 1.3
"""Microseconds that plain WSGI may cost more than plain ASGI."""


class PassThrough:
    """The least that any middleware costs."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - any ASGI application
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Pass everything on."""
        await self.app(scope, receive, send)


class DictionaryBackend(AuthenticationBackend):
    """Starlette's way to look a token up, without any policy."""

    def __init__(self, users: dict[str, SimpleUser]) -> None:
        """Keep tokens in plain text."""
        self._users = users

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Find the user of a bearer token."""
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        user = self._users.get(token) if scheme.lower() == "bearer" else None
        return None if user is None else (AuthCredentials(["authenticated"]), user)


async def home(_request: Request) -> PlainTextResponse:
    """Answer the smallest thing."""
    return PlainTextResponse("ok")


def application(*middleware: Middleware) -> Starlette:
    """Return the application under test."""
    return Starlette(routes=[StarletteRoute("/", home)], middleware=list(middleware))


async def raw_asgi(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401
    """Answer the smallest thing, without a framework."""
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def raw_wsgi(_environ: Any, start_response: Any) -> list[bytes]:  # noqa: ANN401
    """Answer the same over WSGI."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def of_flask(guard: Guard | None = None) -> Flask:
    """Return an application of Flask, with what its view requires if it is guarded."""
    app = Flask("benchmark", static_folder=None)
    view = flask_home
    if guard is not None:
        demands = Keybound(app, guard).requires("rest", model="message", tenant="acme")
        view = demands(flask_home)
    app.add_url_rule("/", "home", view)
    return app


def flask_home() -> str:
    """Answer the smallest thing."""
    return "ok"


class Guarded:
    """A guard, and a key that is limited in everything and may make the request."""

    def __init__(self) -> None:
        """Make both, with routes that the request is not about as well."""
        self.guard = Guard.from_settings(database="memory://", routes=ROUTES)
        limits = Limits(
            read_only=True,
            methods=["GET", "HEAD"],
            networks=["203.0.113.0/24", "!203.0.113.9"],
            models={"message": "read"},
            scopes=["rest"],
        )
        issued = self.guard.issue(name="benchmark", tenant="acme", expires_in="90d", limits=limits)
        self.key = issued.secret.reveal()
        self.good = b"Bearer " + self.key.encode()


ROUTES = [
    Route("/tenants/{tenant}/invoices", model="invoice"),
    Route("/", model="message", tenant="acme", scopes="rest"),
]
WHOLE = "keybound, whole policy, warm key"


def cases() -> list[Case]:
    """Return the cases; each is compared with one of the same framework without keybound."""
    return [*starlette_cases(), *raw_cases(), *flask_cases()]


def starlette_cases() -> list[Case]:
    """Return Starlette's, with floors and refusals."""
    guarded = Guarded()
    guard, key, good = guarded.guard, guarded.key, guarded.good
    typo = good[:-1] + (b"0" if good[-1:] != b"0" else b"1")
    app = application(Middleware(APIKeyMiddleware, guard=guard.to_async()))
    users = DictionaryBackend({key: SimpleUser("benchmark")})
    dictionary = application(Middleware(AuthenticationMiddleware, backend=users))
    base = "Starlette"
    return [
        Case(base, application(), good),
        Case("a middleware that does nothing", application(Middleware(PassThrough)), good, base),
        Case("AuthenticationMiddleware over a dictionary", dictionary, good, base),
        Case(f"Starlette: {WHOLE}", app, good, base),
        Case("keybound, key with a typing error", app, typo, base, 401),
        Case("keybound, no key", app, None, base, 401),
    ]


def raw_cases() -> list[Case]:
    """Return those without a framework."""
    guarded = Guarded()
    asgi = APIKeyMiddleware(raw_asgi, guarded.guard.to_async())
    wsgi = keybound.wsgi.APIKeyMiddleware(raw_wsgi, guarded.guard)
    return [
        Case("ASGI", raw_asgi, guarded.good),
        Case(f"ASGI: {WHOLE}", asgi, guarded.good, "ASGI"),
        Case("WSGI", raw_wsgi, guarded.good, kind="wsgi"),
        Case(f"WSGI: {WHOLE}", wsgi, guarded.good, "WSGI", kind="wsgi"),
    ]


def flask_cases() -> list[Case]:
    """Return Flask's: configured routes, and what a view requires."""
    configured, declared = Guarded(), Guarded()
    routes = of_flask()
    Keybound(routes, configured.guard)
    requires = of_flask(declared.guard)
    return [
        Case("Flask", of_flask(), configured.good, kind="wsgi"),
        Case(f"Flask: {WHOLE}", routes, configured.good, "Flask", kind="wsgi"),
        Case("Flask: the same, as a view requires", requires, declared.good, "Flask", kind="wsgi"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--cpu-time", action="store_true", help="if others use the machine")
    given = parser.parse_args()
    rounds, clock = given.rounds, time.process_time if given.cpu_time else time.perf_counter
    logging.disable()  # of routes that no rule of Flask's matches, and of refusals
    timings = asyncio.run(measure(cases(), rounds=rounds, clock=clock))
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {rounds} rounds, load {load:.2f}")
    print(report(timings))
    more = added(timings, f"WSGI: {WHOLE}") - added(timings, f"ASGI: {WHOLE}")
    print(f"WSGI adds {more:+.2f} us to what ASGI adds; target: at most +{WSGI_MORE}")
    for name, ratio in TARGETS.items():
        print(f"target: the whole policy on a warm key at most {ratio} of {name}")


if __name__ == "__main__":
    main()

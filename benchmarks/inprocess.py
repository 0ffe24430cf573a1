"""What a request costs with keybound in front, as ratios to the same application without it.

    python benchmarks/inprocess.py [--rounds 60]

The whole policy on a warm key (tenant, network, method, read-only, model, scope and lifetime),
refusals, and as floors a middleware that does nothing and Starlette's own over a dictionary.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route as StarletteRoute
from timing import Case, measure, report

from keybound import Guard, Limits, Route
from keybound.asgi import APIKeyMiddleware

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request

TARGET = 1.35


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


def cases() -> list[Case]:
    """Return the cases; the first is the base of the others."""
    routes = [
        Route("/tenants/{tenant}/invoices", model="invoice"),
        Route("/", model="message", tenant="acme", scopes="rest"),
    ]
    guard = Guard.from_settings(database="memory://", routes=routes)
    limits = Limits(
        read_only=True,
        methods=["GET", "HEAD"],
        networks=["203.0.113.0/24", "!203.0.113.9"],
        models={"message": "read"},
        scopes=["rest"],
    )
    issued = guard.issue(name="benchmark", tenant="acme", expires_in="90d", limits=limits)
    key = issued.secret.reveal()
    good = b"Bearer " + key.encode()
    typo = good[:-1] + (b"0" if good[-1:] != b"0" else b"1")
    guarded = application(Middleware(APIKeyMiddleware, guard=guard.to_async()))
    users = DictionaryBackend({key: SimpleUser("benchmark")})
    dictionary = application(Middleware(AuthenticationMiddleware, backend=users))
    base = "Starlette"
    return [
        Case(base, application(), good),
        Case("a middleware that does nothing", application(Middleware(PassThrough)), good, base),
        Case("AuthenticationMiddleware over a dictionary", dictionary, good, base),
        Case("keybound, whole policy, warm key", guarded, good, base),
        Case("keybound, key with a typing error", guarded, typo, base, 401),
        Case("keybound, no key", guarded, None, base, 401),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    timings = asyncio.run(measure(cases(), rounds=rounds))
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {rounds} rounds, load {load:.2f}")
    print(report(timings))
    print(f"target: the whole policy on a warm key at most {TARGET} of Starlette")


if __name__ == "__main__":
    main()

"""What each feature costs a request where it is configured, beside a guard with a plain key.

    python benchmarks/features.py [--rounds 40] [--cpu-time]

A warm key in front of an ASGI application without a framework; what is added is to the request of
the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timing import Case, measure, report

from keybound import Guard, Limits, Principal
from keybound.asgi import APIKeyMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "a key, and nothing else configured"
SOCKET = "a socket, opened and closed"
FIVE = ["bearer", "rest_api_key", "scheme(Token)", "param(api_key)", "basic(username)"]
BODY = b'{"model": "message", "text": "' + b"x" * 900 + b'"}'


async def application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    """Read the body and answer the smallest thing; accept a socket and close it."""
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@dataclass(frozen=True)
class Sent(Case):
    """A request with more to it than its credential."""

    more: tuple[tuple[bytes, bytes], ...] = ()
    query: bytes = b""
    method: str = "GET"
    type: str = "http"

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the request."""
        replaced = {name for name, _ in self.more}
        return [*(each for each in super().headers if each[0] not in replaced), *self.more]

    def scope(self) -> dict[str, Any]:
        """Return the ASGI scope of the request."""
        more = {"query_string": self.query, "method": self.method, "type": self.type}
        return {**super().scope(), **more}


def cases() -> list[Case]:
    """Return the cases; each has a guard and a key of its own."""
    return [
        case(BASE),
        case("credentials: five of Authorization", credentials=FIVE),
        case(
            "credentials: header(X-API-Key)", "header", credentials=["bearer", "header(X-API-Key)"]
        ),
        case("credentials: query(api_key)", "query", credentials=["bearer", "query(api_key)"]),
        case("credentials: cookie(api_key)", "cookie", credentials=["bearer", "cookie(api_key)"]),
        case("hide_credentials", hide_credentials=True),
        case("trusted_proxies: X-Forwarded-For", trusted_proxies=["203.0.113.0/24"]),
        case("client_ip: cloudflare", client_ip="cloudflare", trusted_proxies=["203.0.113.0/24"]),
        case("tenant_from: host", tenant_from="host({tenant}.example.com)", tenant="api"),
        case("tenant_from: header", "tenant", tenant_from="header(X-Tenant, any)", tenant="api"),
        case("tenant_from: a function", tenant_from=tenant, tenant="api"),
        case("exempt_preflight", exempt_preflight=True),
        case(
            "a header, hidden; a proxy; a host: all four",
            "header",
            credentials=["bearer", "header(X-API-Key)"],
            hide_credentials=True,
            client_ip="x-forwarded-for",
            trusted_proxies=["203.0.113.0/24"],
            tenant_from="host({tenant}.example.com)",
            tenant="api",
        ),
        case("close_on_revoke: a request", close_on_revoke=True),
        case("authenticators, and a key", authenticators=[nobody]),
        case("authenticators, and no key", "none", authenticators=[somebody]),
        case("model_from: body, a key without models", "body", model_from="body(model)"),
        case(
            "model_from: body, a key with models",
            "body",
            model_from="body(model)",
            limits=Limits(models={"message": "write"}),
        ),
        case("a method override in a header", "override"),
        case("a query with %20 in it", "encoded"),
        case("hours", limits=Limits(hours=["daily 00:00-24:00 UTC"])),
        case("report_only, and nothing to report", rights=["report_only"]),
        case(
            "report_only, and something to report", "post", rights=["report_only"], read_only=True
        ),
        case(SOCKET, "socket"),
        case("close_on_revoke: a socket", "socket", base=SOCKET, close_on_revoke=True),
    ]


def case(
    name: str,
    sent: str = "bearer",
    *,
    tenant: str | None = None,
    limits: Limits | None = None,
    rights: tuple[str, ...] | list[str] = (),
    read_only: bool = False,
    base: str = BASE,
    **settings: Any,  # noqa: ANN401 - as from_settings takes them
) -> Case:
    """Return a request that a guard with these settings allows."""
    guard = Guard.from_settings(database="memory://", **settings)
    key = guard.issue(
        name=name[:60],
        tenant=tenant,
        rights=list(rights),
        limits=limits or Limits(read_only=True) if read_only else limits or Limits(),
    ).secret.reveal()
    bearer = None if sent in _WITHOUT else b"Bearer " + key.encode()
    how = _HOW[sent](key.encode()) if sent in _HOW else {}
    app = APIKeyMiddleware(application, guard.to_async())
    return Sent(name, app, bearer, None if name in {BASE, SOCKET} else base, **how)


_WITHOUT = frozenset({"header", "query", "cookie", "none"})
_HOW: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "header": lambda key: {"more": ((b"x-api-key", key),)},
    "query": lambda key: {"query": b"page=2&api_key=" + key},
    "cookie": lambda key: {"more": ((b"cookie", b"theme=dark; api_key=" + key),)},
    "tenant": lambda _: {"more": ((b"x-tenant", b"api"),)},
    "override": lambda _: {"more": ((b"x-http-method-override", b"HEAD"),)},
    "encoded": lambda _: {"query": b"q=a%20b"},
    "post": lambda _: {"method": "POST"},
    "body": lambda _: {"method": "POST", "body": BODY},
    "socket": lambda _: {"type": "websocket"},
}


def tenant(_head: object) -> str:
    """Know the tenant."""
    return "api"


def nobody(_head: object) -> None:
    """Know nobody."""


async def somebody(_head: object) -> Principal:
    """Know everybody."""
    return Principal(id="user_1")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--cpu-time", action="store_true", help="if others use the machine")
    given = parser.parse_args()
    rounds, clock = given.rounds, time.process_time if given.cpu_time else time.perf_counter
    logging.disable()
    timings = asyncio.run(measure(cases(), rounds=rounds, clock=clock))
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {rounds} rounds, load {load:.2f}")
    print(report(timings))


if __name__ == "__main__":
    main()

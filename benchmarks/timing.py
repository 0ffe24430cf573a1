"""Whole requests through applications without sockets, compared as ratios within one run.

A round runs a block of every case in a fresh random order; ratios and differences are taken within
a round, so that the drift of a shared machine cancels, and their medians are printed.
"""

from __future__ import annotations

import asyncio
import gc
import io
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS: list[tuple[bytes, bytes]] = [
    (b"host", b"api.example.com"),
    (b"user-agent", b"curl/8.5.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, br"),
    (b"accept-language", b"de-CH,de;q=0.8"),
    (b"connection", b"keep-alive"),
    (b"content-type", b"application/json"),
    (b"x-request-id", b"01JD8Q2V6W3K9Z4M7N5P0R1S2T"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
    (b"traceparent", b"00-7d1c0c1e5f0b4a1f9a3de0a1b2c3d4e5-b7c1d2e3f4a59687-01"),
]
"""What a proxy delivers; the credential comes between the two halves."""

BLOCK_SECONDS = 0.008


@dataclass(frozen=True, slots=True)
class Case:
    """An application and the request that it is sent; ``base`` names the case to compare with."""

    name: str
    app: Any
    authorization: bytes | None = None
    base: str | None = None
    status: int = 200
    path: str = "/"
    kind: Literal["asgi", "wsgi"] = "asgi"
    body: bytes = b""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the request."""
        credential = [] if self.authorization is None else [(b"authorization", self.authorization)]
        return [*HEADERS[:6], *credential, *HEADERS[6:]]

    def scope(self) -> dict[str, Any]:
        """Return the ASGI scope of the request."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("203.0.113.7", 51234),
            "scheme": "http",
            "method": "GET",
            "root_path": "",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": self.headers,
        }

    def environ(self) -> dict[str, Any]:
        """Return the WSGI environment of the request."""
        named = {name.decode().upper().replace("-", "_"): value for name, value in self.headers}
        return {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "203.0.113.7",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{
                name if name == "CONTENT_TYPE" else f"HTTP_{name}": value.decode("latin-1")
                for name, value in named.items()
            },
        }


@dataclass(slots=True)
class Timing:
    """Nanoseconds per request, one sample a round."""

    case: Case
    calls: int = 1
    samples: list[float] = field(default_factory=list)


async def measure(
    cases: list[Case], *, rounds: int = 60, clock: Callable[[], float] = time.perf_counter
) -> list[Timing]:
    """Return the samples of every case; raises ``RuntimeError`` for an unexpected status.

    Where others use the machine, ``time.process_time`` leaves out what they do meanwhile.
    """
    timings = [Timing(case) for case in cases]
    for timing in timings:
        await _check(timing.case)
        elapsed = await _block(timing.case, 200, clock)
        timing.calls = max(1, int(200 * BLOCK_SECONDS / elapsed))
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for timing in random.sample(timings, len(timings)):
            elapsed = await _block(timing.case, timing.calls, clock)
            timing.samples.append(elapsed / timing.calls * 1e9)
    gc.unfreeze()
    return timings


def report(timings: list[Timing]) -> str:
    """Return a table: microseconds a request, what is added to the base, and the ratio to it."""
    by_name = _by_name(timings)
    lines = [f"{'case':44} {'us':>7} {'added us':>9} {'ratio':>7}  (10th-90th percentile)"]
    for timing in timings:
        row = f"{timing.case.name:44} {statistics.median(timing.samples) / 1e3:7.2f}"
        if timing.case.base is not None:
            pairs = list(zip(timing.samples, by_name[timing.case.base].samples, strict=True))
            ratios = [mine / base for mine, base in pairs]
            tenths = statistics.quantiles(ratios, n=10)
            row += f" {added(timings, timing.case.name):9.2f} {statistics.median(ratios):7.3f}"
            row += f"  ({tenths[0]:.3f}-{tenths[-1]:.3f})"
        lines.append(row)
    return "\n".join(lines)


def added(timings: list[Timing], name: str) -> float:
    """Return the microseconds that a case adds to its base."""
    by_name = _by_name(timings)
    timing = by_name[name]
    base = by_name[timing.case.base or name]
    pairs = zip(timing.samples, base.samples, strict=True)
    return statistics.median(mine - base for mine, base in pairs) / 1e3


def _by_name(timings: list[Timing]) -> dict[str, Timing]:
    return {timing.case.name: timing for timing in timings}


async def _block(case: Case, calls: int, clock: Callable[[], float]) -> float:
    if case.kind == "wsgi":
        return _block_wsgi(case, calls, clock)
    return await _block_asgi(case, calls, clock)


def _block_wsgi(case: Case, calls: int, clock: Callable[[], float]) -> float:
    template, app = case.environ(), case.app

    def start_response(_status: str, _headers: object, _error: object = None) -> None:
        pass

    start = clock()
    for _ in range(calls):
        body = app(template.copy(), start_response)
        for _chunk in body:
            pass
        if hasattr(body, "close"):
            body.close()
    return clock() - start


async def _block_asgi(case: Case, calls: int, clock: Callable[[], float]) -> float:
    template, app = case.scope(), case.app
    body = {"type": "http.request", "body": case.body, "more_body": False}

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return body

    async def send(_message: dict[str, Any]) -> None:
        pass

    start = clock()
    for _ in range(calls):
        scope = template.copy()
        scope["state"] = {}
        await app(scope, receive, send)
    return clock() - start


async def _check(case: Case) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": case.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    def start_response(status: str, _headers: object, _error: object = None) -> None:
        sent.append({"status": int(status.split(maxsplit=1)[0])})

    if case.kind == "wsgi":
        case.app(case.environ(), start_response)
    else:
        await case.app(case.scope() | {"state": {}}, receive, send)
    status = 200 if sent[0].get("type") == "websocket.accept" else sent[0].get("status")
    if status != case.status:
        raise RuntimeError(f"{case.name}: status {status}, expected {case.status}")

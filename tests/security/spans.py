"""What OpenTelemetry is told of requests: by us, and by an application that tells what it sees."""

from __future__ import annotations

import ast
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from keybound.metrics import watch
from tests import telemetry
from tests.security import subjects
from tests.security.references import request_of
from tests.security.sending import sent
from tests.security.worlds import Place, Way
from tests.shells.subjects import SUBJECTS as SHELLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.engine import Engine
    from tests.security.calls import Calls

_REQUESTS = ("HDR-001", "HDR-025", "HDR-053")
"""A good key, something that is none, and one that was never issued."""

_EVERY = ".*"


def listen(engine: Engine) -> None:
    """Have all that is measured of an engine, and all that is traced, from now on."""
    telemetry.read()
    telemetry.SPANS.clear()
    watch(engine)


@contextmanager
def span() -> Iterator[trace.Span]:
    """Do something within a span, as an application does it whose requests are traced."""
    with trace.get_tracer("an application").start_as_current_span("request") as current:
        yield current


def heard() -> list[str]:
    """Return what was measured and traced as text; there is something of both."""
    found = telemetry.attributes()
    assert any("keybound.outcome" in each for each in found), "nothing was measured"
    assert telemetry.SPANS.get_finished_spans(), "nothing was traced"
    return found


def told(calls: Calls, pattern: str) -> None:
    """Serve requests within spans, into which the application puts every header that it sees.

    It sees no key, with ``hide_credentials``; nor may one be in what we measure, or in a span.
    """
    captured = re.compile(_pattern(pattern), re.IGNORECASE)
    world = calls.case.world
    hides = replace(world, settings={**world.settings, "hide_credentials": True})
    place = Place(
        replace(calls.case, world=hides),
        Way(store="memory"),
        folder=calls.tools.folder,
        redis=None,
        full=False,
    )
    listen(place.engine)
    calls.secrets.append(place.secrets.of("K1"))
    try:
        for name in SHELLS:
            _serve(calls, place, name, captured)
            subjects.forget()
        calls.texts += heard()
    finally:
        place.close()


def _serve(calls: Calls, place: Place, name: str, captured: re.Pattern[str]) -> None:
    served = subjects.serve(name, place)
    for request in _REQUESTS:
        each = sent(request_of(request, calls.tools.cases), place.secrets)
        with span() as current:
            outcome = served.send(each)
            for header, value in _headers(outcome.served):
                if captured.fullmatch(header):
                    current.set_attribute(f"http.request.header.{header}", value)


def _headers(scopes: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the headers that an application saw, of either protocol."""
    for scope in scopes:
        for name, value in scope.get("headers", ()):
            yield name.decode("latin-1"), value.decode("latin-1")
        for name, value in scope.items():
            if name.startswith("HTTP_"):
                yield name.removeprefix("HTTP_").lower().replace("_", "-"), str(value)


def _pattern(written: str) -> str:
    """Return the pattern that a call is given, and that of every header if it is given none."""
    try:
        value = ast.literal_eval(written)
        re.compile(value)
    except (SyntaxError, ValueError, TypeError, re.error):
        return _EVERY
    return str(value)

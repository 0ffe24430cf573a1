"""Bodies that Django holds: read to their cap, and left to the view as they were."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest

from keybound.django.facts import body_of
from tests.shells.calls import environ_of, scope_of

BODY = b"x" * 100


def under_asgi() -> Any:
    """Return a request whose body came in chunks."""
    return ASGIRequest(scope_of("http", "/x", method="POST"), BytesIO(BODY))


def under_wsgi() -> Any:
    """Return a request whose body has a length."""
    stream: Any = {"wsgi.input": BytesIO(BODY), "CONTENT_LENGTH": "100"}
    return WSGIRequest(environ_of("/x", method="POST", **stream))


@pytest.mark.parametrize("make", [under_asgi, under_wsgi])
def test_body_is_read_to_its_cap(make: Any):
    """And the view reads it, too."""
    for cap, expected in ((99, None), (100, BODY)):
        request = make()
        assert body_of(request, cap) == expected
        assert request.body == BODY
        assert body_of(request, cap) == expected


def test_long_body_is_not_read_into_memory():
    """Without a length, Django would read all of it."""
    request = under_asgi()
    assert body_of(request, 99) is None
    assert "_body" not in vars(request)
    assert request.read(3) == b"xxx"
    assert body_of(request, 100) is None
    assert request.read() == BODY[3:]

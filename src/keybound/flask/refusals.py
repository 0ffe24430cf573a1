"""Refusals as Flask sends them, and as a site renders them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from werkzeug.exceptions import HTTPException

from keybound.core.errors import RefusedError
from keybound.core.refusals import RefusalResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.typing import ResponseReturnValue
    from flask.wrappers import Response

    from keybound.core.decision import Denied

    Renderer = Callable[[RefusalResponse, dict[str, Any]], ResponseReturnValue]

logger = logging.getLogger("keybound")

_KEPT = frozenset({"cache-control", "keybound-denial", "retry-after", "vary", "www-authenticate"})
"""Headers of a refusal that hold however a site renders it."""


class HTTPRefusedError(RefusedError, HTTPException):
    """A demand that the identity of a request does not meet, and the whole answer to it.

    It has no ``code``: Flask then sends the answer as it is, past handlers of errors.
    """

    def __init__(self, denied: Denied, response: Response) -> None:
        """Hold what is sent."""
        RefusedError.__init__(self, denied)
        HTTPException.__init__(self, str(denied.reason), response)


def rendered(app: Flask, answer: RefusalResponse, render: Renderer) -> RefusalResponse:
    """Return a refusal as a site shows it; whatever it does, it stays the same refusal."""
    try:
        with app.app_context():
            shown = app.ensure_sync(render)(answer, msgspec.json.decode(answer.body))
            response = app.make_response(shown)
            response.direct_passthrough = False
            body = response.get_data()
    except Exception as error:  # noqa: BLE001 - a rendering that fails is not needed
        # The text of a foreign error may hold anything; its type does not.
        logger.error("cannot render a refusal: %s", type(error).__qualname__)  # noqa: TRY400
        return answer
    left = {*_KEPT, "content-length", "connection", "transfer-encoding"}
    headers = [(name, value) for name, value in answer.headers if name in _KEPT]
    headers += [(name, value) for name, value in response.headers if name.lower() not in left]
    return RefusalResponse(answer.status, (("content-length", str(len(body))), *headers), body)

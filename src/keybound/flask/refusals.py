"""Refusals as Flask sends them, and as one application renders them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from keybound.core.errors import RefusedError
from keybound.rendering import CHALLENGE, KEPT, RefusalResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.typing import ResponseReturnValue
    from flask.wrappers import Response

    from keybound import rendering
    from keybound.core.decision import Denied

    Renderer = Callable[[RefusalResponse, dict[str, Any]], ResponseReturnValue]


class HTTPRefusedError(RefusedError, HTTPException):
    """A demand that the identity of a request does not meet, and the whole answer to it.

    It has no ``code``: Flask then sends the answer as it is, past handlers of errors.
    """

    def __init__(self, denied: Denied, response: Response) -> None:
        """Hold what is sent."""
        RefusedError.__init__(self, denied)
        HTTPException.__init__(self, str(denied.reason), response)


def renderer_of(app: Flask, render: Renderer) -> rendering.Renderer:
    """Return a renderer that answers as a view would; what a refusal needs stays as it is."""

    def answer_of(refused: rendering.PublicRefusal, answer: RefusalResponse) -> RefusalResponse:
        with app.app_context():
            shown = app.ensure_sync(render)(answer, refused.problem)
            response = app.make_response(shown)
            response.direct_passthrough = False
            body = response.get_data()
        # What a view returns is made for answers that are no refusals: those headers stay ours.
        headers = [each for each in response.headers if each[0].lower() not in _OURS]
        return RefusalResponse(answer.status, tuple(headers), body)

    return answer_of


_OURS = KEPT | {CHALLENGE}

"""Bodies that are read to find the model of a request, and handed on unchanged."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from keybound.core.bodies import head_allows
from keybound.core.told import PLAIN, ReadBody, Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from keybound.core.bodies import BodyFields
    from keybound.core.head import Head

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]


def with_models(told: Told | None, fields: BodyFields, head: Head, body: bytes | None) -> Told:
    """Return what a request tells with the models of its body; none can be told without one."""
    models = None
    if body is not None:
        kind, encoding = _whole(head, "content-type"), _whole(head, "content-encoding")
        models = fields.models(body, kind, encoding)
    return (told or PLAIN)._replace(body=ReadBody(fields, models))


def is_worth_reading(head: Head, body_max: int) -> bool:
    """Return whether a body may be JSON that is short enough, by what the head says of it."""
    kind, encoding = _whole(head, "content-type"), _whole(head, "content-encoding")
    return head_allows(kind, encoding, _whole(head, "content-length"), body_max)


def _whole(head: Head, name: str) -> bytes | None:
    """Return all lines of a header as one: where there are several, nobody knows which counts."""
    return b",".join(head.folded(name)) if head.folded(name) else None


async def buffered(receive: Receive, body_max: int) -> tuple[bytes | None, Receive]:
    """Return the body of a request of ASGI, and a ``receive`` that begins with what was read.

    It is ``None`` where it is longer, or the client went away.
    """
    read, more = bytearray(), True
    again: list[Message] = []
    while more and len(read) <= body_max:
        message = await receive()
        if message["type"] != "http.request":
            again.append(message)
            break
        read += message.get("body", b"")
        more = message.get("more_body", False)
    body = bytes(read)
    again.insert(0, {"type": "http.request", "body": body, "more_body": more})

    async def receive_again() -> Message:
        return again.pop(0) if again else await receive()

    return None if more or len(body) > body_max else body, receive_again


def buffer_input(environ: MutableMapping[str, Any], body_max: int) -> bytes | None:
    """Return the body of a request of WSGI, and put it back; ``None`` where it is longer."""
    length: str = environ.get("CONTENT_LENGTH") or ""
    expected: int | None = 0
    if length:
        expected = int(length) if length.isascii() and length.isdecimal() else body_max + 1
    elif environ.get("wsgi.input_terminated"):  # by the server, as a body in chunks is
        expected = None
    if expected is not None and expected > body_max:
        return None
    source = environ["wsgi.input"]
    body: bytes = source.read(body_max + 1 if expected is None else expected)
    whole = len(body) <= body_max if expected is None else len(body) == expected
    if not whole:
        return None
    environ["wsgi.input"] = BytesIO(body)
    return body

"""Bodies that are read to find the model of a request, and handed on unchanged."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from keybound.core.bodies import head_allows
from keybound.core.told import PLAIN, ReadBody, Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from keybound.core.bodies import BodyFields
    from keybound.core.head import Head

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]


_PART = 65_536


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
    """Return the body of a request of WSGI; ``None`` where it is longer, or cut short.

    What was read of it is put back in front of the rest.
    """
    length: str = environ.get("CONTENT_LENGTH") or ""
    expected: int | None = None
    if length:
        expected = int(length) if length.isascii() and length.isdecimal() else body_max + 1
        if expected > body_max:
            return None
    elif not environ.get("wsgi.input_terminated"):  # by the server, as a body in chunks is
        return b""
    source = environ["wsgi.input"]
    body = _read(source, body_max + 1 if expected is None else expected)
    whole = len(body) <= body_max if expected is None else len(body) == expected
    environ["wsgi.input"] = BytesIO(body) if whole else Rejoined(body, source)
    return body if whole else None


def _read(source: Any, size: int) -> bytes:  # noqa: ANN401 - whatever a server has
    """Return that much, or all there is: some servers hand out what has come so far."""
    parts: list[bytes] = []
    while size > 0 and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Rejoined:
    """A body whose beginning was read: that once more, then what the server still has.

    It has the methods that PEP 3333 asks for, and reads no more of the rest than it is asked for.
    """

    def __init__(self, begun: bytes, rest: Any) -> None:  # noqa: ANN401 - whatever a server has
        """Begin with what was read."""
        self._begun = BytesIO(begun)
        self._rest = rest

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        if size is None or size < 0:
            # In parts: where something was read, granian has nothing for a bare read().
            return self._begun.read() + b"".join(iter(partial(self._rest.read, _PART), b""))
        begun = self._begun.read(size)
        return begun if len(begun) == size else begun + self._rest.read(size - len(begun))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, or the beginning of it."""
        most = -1 if size is None else size
        begun = self._begun.readline(most)
        if begun.endswith(b"\n") or len(begun) == most:
            return begun
        more: bytes = self._rest.readline() if most < 0 else self._rest.readline(most - len(begun))
        return begun + more

    def readlines(self, _hint: int | None = None, /) -> list[bytes]:
        """Return all lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line."""
        return iter(self.readline, b"")

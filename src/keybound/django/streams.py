"""Streaming answers: the code that makes their pieces runs after the middleware is done."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from django.http import FileResponse, StreamingHttpResponse

from keybound.context import reset_current, set_current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from django.http.response import HttpResponseBase

    from keybound.core.identity import Identity


def with_identity(response: HttpResponseBase, identity: Identity | None) -> HttpResponseBase:
    """Return a streaming response whose pieces are made with the identity in place.

    Files are left alone: no code of the project makes them, and servers have ways of their own.
    """
    if identity is None or isinstance(response, FileResponse):
        return response
    if isinstance(response, StreamingHttpResponse):
        content: Any = response.streaming_content
        wrap: Any = _awaited if response.is_async else _blocking
        response.streaming_content = wrap(content, identity)
    return response


def _blocking(content: Iterator[bytes], identity: Identity) -> Generator[bytes]:
    while True:
        token = set_current(identity)
        try:
            piece = next(content)
        except StopIteration:
            return
        finally:
            reset_current(token)
        yield piece


async def _awaited(content: AsyncGenerator[bytes], identity: Identity) -> AsyncGenerator[bytes]:
    async with aclosing(content):
        while True:
            token = set_current(identity)
            try:
                piece = await anext(content)
            except StopAsyncIteration:
                return
            finally:
                reset_current(token)
            yield piece

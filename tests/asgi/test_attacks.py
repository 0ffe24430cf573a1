"""What is left in memory of a request that does not come to its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keybound import AsyncGuard, Limits, Route
from keybound.asgi import APIKeyMiddleware
from keybound.core.principals import Principal
from tests.shells.calls import scope_of

TOKEN = b"Bearer of.another.kind"


def test_credential_is_in_no_frame_of_who_waits_with_a_body():
    """An interrupted request is reported with its variables: the key is in the scope alone."""
    asked: list[object] = []

    async def knows(_head: object) -> Principal:
        asked.append(_head)
        if len(asked) > 1:
            await asyncio.Event().wait()
        return Principal(id="u_1", tenant="acme", limits=Limits(models="invoice"))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"model":"invoice"}'}

    guard = AsyncGuard.from_settings(
        database="memory://", routes=[Route("/x", model="body(model)")], authenticators=[knows]
    )
    headers = [(b"authorization", TOKEN), (b"content-type", b"application/json")]
    scope = scope_of("http", "/x", method="POST", headers=headers)

    async def interrupted() -> None:
        serving: Any = APIKeyMiddleware(lambda *_: asyncio.sleep(0), guard)
        async with asyncio.timeout(0.05):
            await serving(scope, receive, None)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(interrupted())
    chained = caught.value.__cause__ or caught.value.__context__
    assert chained is not None
    trace = chained.__traceback__
    frames = 0
    while trace is not None:
        held = trace.tb_frame.f_locals
        if trace.tb_frame.f_globals["__name__"].startswith("keybound."):
            frames += 1
            shown = {name for name, value in held.items() if TOKEN.decode() in repr(value)}
            assert shown <= {"scope", "headers"}, trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    assert frames
    assert len(asked) == 2
